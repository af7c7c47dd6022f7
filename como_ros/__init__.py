"""The robot side: ROS nodes, drivers, control and the lab."""
