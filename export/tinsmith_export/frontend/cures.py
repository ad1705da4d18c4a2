"""What to do about a layer that cannot be compiled."""

CURE = "take another layer there (docs/reference/layers.md lists those that compile)"

_BEFORE = "it prepares data: do so before the model, and compile keras.Model(LAYER.output, OUTPUTS)"
_BEHIND = (
    "places are chosen behind the model: compile keras.Model(INPUTS, LAYER.input), and choose from "
    "what that gives"
)
_TRAINING = "it is for training: compile the model without it, keras.Model(LAYER.output, OUTPUTS)"
_MASK = (
    "masks are not compiled: leave Masking and mask_zero=True out, and train with the padding that "
    "the board will see"
)
_BY_CLASS = {
    f"recurrent convolutions are not compiled: {CURE}": "ConvLSTM1D ConvLSTM2D ConvLSTM3D",
    "no engine has integer kernels for volumes: make the depth part of the channels of the data, "
    "and take the layer for images, Conv2D for Conv3D": """
        Conv3D Conv3DTranspose MaxPooling3D AveragePooling3D GlobalMaxPooling3D
        GlobalAveragePooling3D UpSampling3D ZeroPadding3D Cropping3D
        """,
    _BEFORE: """
        StringLookup IntegerLookup TextVectorization Hashing HashedCrossing CategoryEncoding
        Discretization FeatureSpace MelSpectrogram STFTSpectrogram
        """,
    _BEHIND: "Argmax Argmin Argsort Sort TopK InTopK Where Nonzero",
    _TRAINING: """
        AugMix CutMix MixUp RandAugment RandomColorDegeneration RandomColorJitter
        RandomElasticTransform RandomErasing RandomGaussianBlur RandomGrayscale RandomHue
        RandomInvert RandomPerspective RandomPosterization RandomSaturation RandomSharpness
        RandomShear
        """,
    "it normalizes weights in training: put the layer in it there, LAYER.layer, whose weights are "
    "normalized": "SpectralNormalization",
    _MASK: "Masking",
}
_BY_OPERATOR = {
    "no engine runs loops or branches that depend on data: write a loop of a fixed length in "
    "Python, which is unrolled; of two branches compute both, and weight them; of a recurrent "
    "layer give the .keras file, whose steps are unrolled": """
        While StatelessWhile If StatelessIf Case StatelessCase TensorListReserve
        TensorListFromTensor TensorListStack
        """,
    _BEHIND: """
        ArgMax ArgMin TopK TopKV2 Where Unique UniqueV2 NonMaxSuppressionV3 NonMaxSuppressionV4
        NonMaxSuppressionV5 CombinedNonMaxSuppression
        """,
    "take interpolation='bilinear' or 'nearest' there": """
        ResizeBicubic ResizeArea ScaleAndTranslate CropAndResize
        """,
    "compute spectra before the model, and give it those": "FFT FFT2D IFFT RFFT RFFT2D IRFFT",
    "take BatchNormalization there, and train again": "LRN",
    _MASK: "NotEqual",
}
_OF_CLASS = {name: cure for cure, names in _BY_CLASS.items() for name in names.split()}
_OF_OPERATOR = {name: cure for cure, names in _BY_OPERATOR.items() for name in names.split()}


def cure(kind: str, operator: str = "") -> str:
    """What to do about a layer.

    Args:
        kind: the layer's class in Keras.
        operator: TensorFlow's operator that is not compiled, if one is known.
    """
    return _OF_CLASS.get(kind) or _OF_OPERATOR.get(operator) or CURE
