"""The heart on chest radiographs: ResNet50, one box."""
