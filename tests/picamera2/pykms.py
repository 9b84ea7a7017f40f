"""Stands in for the display library that Picamera2 imports whether or not it shows anything: with it, nothing can be shown."""


class PixelFormat:
    """The formats that Picamera2 names when it is imported."""

    RGB888 = BGR888 = XRGB8888 = XBGR8888 = YUV420 = YVU420 = YUYV = YVYU = UYVY = VYUY = NV12 = None
