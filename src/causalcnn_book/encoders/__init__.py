"""The encoders chapter: stacks side by side, measured on phones.

The library's part of it is ``causalcnn.nn.blocks``.
"""
