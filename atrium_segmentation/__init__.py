"""The left atrium in MRI volumes: U-Net and FCN-8, one mask."""
