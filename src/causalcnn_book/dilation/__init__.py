"""The dilation chapter: reach, holes, strides, and whether dilation is worth it.

The library's part of it is ``causalcnn.nn.conv``.
"""
