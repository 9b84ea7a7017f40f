"""The agent: a small server beside the camera (on a Raspberry Pi, say), and its client on the PC."""
