"""Mistakes that are seen in files before they cost a day on the NPU: rules over builds, images, programs, streams."""
