"""The part of the model card that is the same for every atrium run."""

from common.reporting.model_card import About

ABOUT = About(
    model="Networks, each in a folder of its name: fcn8 is an FCN-8 (Long et al. 2015), unet a "
    "U-Net (Ronneberger et al. 2015), residual_unet one with residual blocks (Zhang et al. 2018), "
    "unet3d that in three dimensions. They see slices of one MRI volume with their neighbours as "
    "channels, unet3d patches of it, at the working spacing, from the volume's own 0.5th to its "
    "99.5th percentile as 8 bits.",
    question="Which voxels of this heart MRI are left atrium?",
    answer="A mask in the volume's own grid, and its volume in ml.",
    factors="The scanner, the sequence and its contrast, the spacing, the patient's rhythm and "
    "the size of the atrium.",
    metrics="Dice, surface Dice at 1 and 2 mm, surface distances (HD95, mean) in mm and the error "
    "of the volume in ml, its size and signed with limits of agreement, of "
    "whole volumes at their own spacing. They stand next to the mean shape of the training masks, "
    "which looks at no image.",
    caveats=(
        "There is always a search for an atrium: a volume of another organ gets a mask too.",
        "Where the atrium ends at its veins and valve is a convention of who drew the masks.",
        "Some public sets have few volumes, of one hospital: an interval over 16 to 20 patients is "
        "wide, and says nothing of another scanner.",
        "A volume in ml from a mask has not been checked against a clinical measurement.",
    ),
    task="image-segmentation",
    tags=("mri", "left-atrium"),
)
