"""The operator's page: what it shows, what it is asked, and the door in front of it. No ROS."""
