"""From a kernel and a target to files for the NPU: objects, core programs, images, instruction streams."""
