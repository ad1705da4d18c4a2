"""What a model file may name: classes by module, functions by name. Everything else is refused.

All of it only computes with numbers: nothing here opens a file, imports a module or calls a
function that the file chose. A new name belongs here only after its source was read for that.
"""

import itertools


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


LAYERS = _names("""
    InputLayer Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention
    Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization
    BatchNormalizationV1 BatchNormalizationV2 Bidirectional CenterCrop Concatenate Conv1D
    Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D
    Cropping1D Cropping2D Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout EinsumDense
    ELU Embedding Flatten GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D GroupNormalization GroupQueryAttention GRU GRUCell Identity
    LayerNormalization LeakyReLU LSTM LSTMCell Masking Maximum MaxPooling1D MaxPooling2D
    MaxPooling3D Minimum MultiHeadAttention Multiply Normalization Permute PReLU RandomBrightness
    RandomContrast RandomCrop RandomFlip RandomHeight RandomRotation RandomTranslation RandomWidth
    RandomZoom ReLU RepeatVector Rescaling Reshape Resizing RMSNormalization RNN SeparableConv1D
    SeparableConv2D SimpleRNN SimpleRNNCell Softmax SpatialDropout1D SpatialDropout2D
    SpatialDropout3D StackedRNNCells Subtract ThresholdedReLU TimeDistributed UnitNormalization
    UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """)
_MODELS = frozenset(("Functional", "Model", "Sequential"))
_TF_OPERATORS = frozenset(("SlicingOpLambda", "TFOpLambda"))
_INITIALIZERS = _names("""
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones
    Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
    """)
_REGULARIZERS = frozenset(("L1", "L1L2", "L2", "OrthogonalRegularizer"))
_CONSTRAINTS = frozenset(("MaxNorm", "MinMaxNorm", "NonNeg", "RadialConstraint", "UnitNorm"))
_POLICIES = frozenset(("DTypePolicy", "DTypePolicyMap", "Policy"))
_OPTIMIZERS = _names("""
    Adadelta Adafactor Adagrad Adam Adamax AdamW Ftrl Lion LossScaleOptimizer Nadam RMSprop SGD
    """)
_SCHEDULES = _names("""
    CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay
    PolynomialDecay
    """)
_LOSSES = _names("""
    BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy CategoricalFocalCrossentropy
    CategoricalHinge CosineSimilarity Hinge Huber KLDivergence LogCosh MeanAbsoluteError
    MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError Poisson
    SparseCategoricalCrossentropy SquaredHinge
    """)
_METRICS = _LOSSES | _names("""
    Accuracy AUC BinaryAccuracy CategoricalAccuracy F1Score Mean MeanIoU Precision Recall
    RootMeanSquaredError SparseCategoricalAccuracy SparseTopKCategoricalAccuracy
    TopKCategoricalAccuracy
    """)
# Operators of Keras 3 that stand for themselves in a model, as `x + 3` does.
_OPERATORS = {
    "keras.src.ops.numpy": _names("""
        Absolute Add Clip Concatenate Divide Exp ExpandDims GetItem Matmul Max Maximum Mean Min
        Minimum Multiply Negative Pad Power Reciprocal Reshape Split Sqrt Square Squeeze Stack
        Subtract Sum Tanh Tile Transpose TrueDivide Var
        """),
    "keras.src.ops.nn": _names("""
        AveragePool BatchNorm Conv ConvTranspose DepthToSpace DepthwiseConv Elu Gelu HardSigmoid
        HardSilu LayerNorm LeakyRelu MaxPool Moments Normalize Relu Relu6 RMSNorm Selu SeparableConv
        Sigmoid Silu Softmax Softplus Softsign SpaceToDepth
        """),
    "keras.src.ops.math": frozenset(("Erf", "Rsqrt")),
    "keras.src.ops.core": frozenset(("Cast", "StopGradient")),
    "keras.src.ops.image": frozenset(("Resize",)),
}
_CONVNEXT = frozenset(("LayerScale", "StochasticDepth"))
MODULES = {
    "keras": _MODELS | _POLICIES,
    "keras.models": _MODELS,
    "keras.src.models.functional": frozenset(("Functional",)),
    "keras.src.models.model": frozenset(("Model",)),
    "keras.src.models.sequential": frozenset(("Sequential",)),
    "keras.src.engine.functional": frozenset(("Functional",)),
    "tf_keras.src.engine.functional": frozenset(("Functional",)),
    "keras.src.layers.core.tf_op_layer": _TF_OPERATORS,
    "tf_keras.src.layers.core.tf_op_layer": _TF_OPERATORS,
    "keras.layers": LAYERS,
    "keras.initializers": _INITIALIZERS,
    "keras.regularizers": _REGULARIZERS,
    "keras.constraints": _CONSTRAINTS,
    "keras.dtype_policies": _POLICIES,
    "keras.mixed_precision": _POLICIES,
    "keras.random": frozenset(("SeedGenerator",)),
    "keras.src.random.seed_generator": frozenset(("SeedGenerator",)),
    "keras.losses": _LOSSES,
    "keras.metrics": _METRICS,
    "keras.optimizers": _OPTIMIZERS,
    "keras.optimizers.schedules": _SCHEDULES,
    **_OPERATORS,
    # Layers of models in keras.applications, which are in no public module.
    "keras.src.applications.convnext": _CONVNEXT,
    "tf_keras.src.applications.convnext": _CONVNEXT,
    "keras.src.applications.inception_resnet_v2": frozenset(("CustomScaleLayer",)),
}
"""Module to classes, where a file says both."""

ALONE = frozenset(itertools.chain.from_iterable(MODULES.values()))
"""Classes that a file may name without a module, as old `.h5` files do."""

VALUES = _names("""
    __bytes__ __ellipsis__ __keras_tensor__ __numpy__ __slice__ __tensor__ __tuple__ TensorShape
    """)
"""What stands for a value, not for an object of a class."""

ACTIVATIONS = _names("""
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu
    linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus
    softsign sparse_plus sparsemax squareplus swish tanh tanh_shrink threshold
    """)
FUNCTION_MODULES = ("builtins", "keras.activations", "keras.losses", "keras.metrics")
FUNCTIONS = ACTIVATIONS | _names("""
    binary_crossentropy categorical_crossentropy mean_absolute_error mean_squared_error
    sparse_categorical_crossentropy
    """)
"""Functions that a file may name as such."""

# Short forms that either Keras takes for an initializer, a regularizer or a constraint.
PARTS = (
    _INITIALIZERS
    | _REGULARIZERS
    | _CONSTRAINTS
    | _names("""
        constant glorot_normal glorot_uniform he_normal he_uniform identity lecun_normal
        lecun_uniform max_norm min_max_norm non_neg normal one ones orthogonal
        orthogonal_regularizer radial_constraint random_normal random_uniform truncated_normal
        uniform unit_norm variance_scaling zero zeros l1 l1_l2 l2
        """)
)

TYPES = _names("""
    bfloat16 bool float16 float32 float64 int16 int32 int64 int8 mixed_bfloat16 mixed_float16
    uint16 uint32 uint64 uint8
    """)

# Functions of TensorFlow that a `TFOpLambda` of tf_keras may call: what comes of each are
# operators that the compiler reads, or that it refuses by name.
TF_FUNCTIONS = _names("""
    __operators__.add __operators__.getitem cast clip_by_value concat einsum expand_dims identity
    linalg.matmul linalg.l2_normalize math.abs math.add math.divide math.erf math.erfc math.exp
    math.l2_normalize math.log math.maximum math.minimum math.multiply math.negative math.pow
    math.reciprocal math.reduce_max math.reduce_mean math.reduce_min math.reduce_sum
    math.reduce_variance math.rsqrt math.sigmoid math.softplus math.sqrt math.square
    math.squared_difference math.subtract math.tanh math.truediv nn.avg_pool nn.avg_pool2d
    nn.batch_normalization nn.bias_add nn.conv2d nn.depth_to_space nn.depthwise_conv2d nn.elu
    nn.gelu nn.l2_normalize nn.leaky_relu nn.max_pool nn.max_pool2d nn.moments nn.relu nn.relu6
    nn.selu nn.silu nn.softmax nn.softplus nn.softsign nn.space_to_depth nn.swish nn.tanh pad
    image.resize reshape slice split squeeze stack stop_gradient strided_slice tile transpose
    compat.v1.concat compat.v1.expand_dims compat.v1.image.resize_nearest_neighbor
    compat.v1.math.reduce_max compat.v1.math.reduce_mean compat.v1.math.reduce_sum
    compat.v1.nn.avg_pool compat.v1.nn.conv2d compat.v1.nn.depth_to_space
    compat.v1.nn.depthwise_conv2d compat.v1.nn.depthwise_conv2d_native compat.v1.nn.max_pool
    compat.v1.nn.softmax compat.v1.nn.space_to_depth compat.v1.pad compat.v1.shape compat.v1.squeeze
    compat.v1.transpose
    """)
