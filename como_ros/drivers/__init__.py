"""Hardware drivers, free of ROS."""
