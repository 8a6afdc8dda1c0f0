"""Pneumonia on chest radiographs: ResNet50, one probability, Grad-CAM."""
