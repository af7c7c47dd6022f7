"""The policy: vocabulary, resampling, chunk scheduling, runtime and bundles. Knows no ROS."""
