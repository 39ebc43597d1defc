"""VGG16 for 32×32 images."""

from torch import nn

from trainables.models.initialization import channels, kaiming


def vgg16(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
    """Return VGG16 with batch normalization for 32×32 images, with 14.7 million parameters at width 1.

    It has torchvision's convolutions and a single linear layer.

    Source: Simonyan and Zisserman, arXiv 1409.1556, configuration D.
    """
    from torchvision.models.vgg import cfgs, make_layers

    layout: list[int | str] = []
    size = min(image_shape[1:])
    for base in cfgs["D"]:
        if isinstance(base, int):
            layout.append(channels(base, width))
        elif size >= 2:  # images smaller than 32×32 are pooled less often
            layout.append(base)
            size //= 2
    features = make_layers(layout, batch_norm=True)
    if image_shape[0] != 3:
        features[0] = nn.Conv2d(image_shape[0], channels(64, width), 3, padding=1)
    kaiming(features, "fan_out")
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels(512, width), num_classes))
