"""What runs offline: bags and videos in, artefacts (safetensors + JSON) out."""
