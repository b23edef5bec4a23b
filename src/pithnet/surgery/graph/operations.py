"""The table of operations: what kind of step a module, a function, a tensor's method or an ATen operator is.

Everything that walks a graph asks it through `pithnet.surgery.graph.lookup`: where activations are quantized,
which layers take a BatchNorm, through what a factor passes, and under which kind costs are counted. A new
operation is a line, or a name in one.
"""

from __future__ import annotations

from torch import nn

from pithnet.surgery.graph.activation_quantizers import ActivationQuantizer, LearnedClip
from pithnet.surgery.graph.operation import Kind, Operation


def _line(kind: Kind, modules: str, names: str, **facts: bool) -> Operation:
    """modules: names of classes of torch.nn. names, facts: as `Operation` has them."""
    return Operation(
        kind, tuple(getattr(nn, name) for name in modules.split()), tuple(names.split()), **facts
    )


OPERATIONS: tuple[Operation, ...] = (
    # Layers of weights.
    _line(Kind.CONVOLUTION, "Conv1d Conv2d Conv3d", "conv1d conv2d conv3d", multiplies=True),
    _line(
        Kind.TRANSPOSED_CONVOLUTION,
        "ConvTranspose1d ConvTranspose2d ConvTranspose3d",
        "conv_transpose1d conv_transpose2d conv_transpose3d",
        multiplies=True,
    ),
    _line(Kind.LINEAR, "Linear", "linear", multiplies=True),
    _line(Kind.BILINEAR, "Bilinear", "bilinear", multiplies=True),
    _line(
        Kind.RECURRENT,
        "RNNBase RNNCellBase",
        "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell",
        multiplies=True,
    ),
    _line(Kind.EMBEDDING, "Embedding EmbeddingBag", "embedding embedding_bag"),
    _line(Kind.ATTENTION, "MultiheadAttention", "scaled_dot_product_attention", multiplies=True),
    _line(
        Kind.TRANSFORMER,
        "Transformer TransformerEncoder TransformerDecoder TransformerEncoderLayer TransformerDecoderLayer",
        "",
        multiplies=True,
    ),
    _line(Kind.MATMUL, "", "matmul __matmul__ mm bmm mv dot vdot inner", multiplies=True),
    _line(Kind.ADD_MATMUL, "", "addmm baddbmm addmv", multiplies=True),
    _line(Kind.CONTRACTION, "", "einsum tensordot chain_matmul multi_dot addbmm", multiplies=True),
    # Norms.
    _line(Kind.BATCH_NORM, "BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm", "batch_norm"),
    _line(Kind.GROUP_NORM, "GroupNorm", "group_norm"),
    _line(Kind.LAYER_NORM, "LayerNorm", "layer_norm native_layer_norm"),
    _line(Kind.RMS_NORM, "RMSNorm", "rms_norm"),
    _line(Kind.INSTANCE_NORM, "InstanceNorm1d InstanceNorm2d InstanceNorm3d", "instance_norm"),
    _line(Kind.LOCAL_NORM, "LocalResponseNorm", "local_response_norm normalize"),
    # Activations.
    _line(Kind.RELU, "ReLU", "relu relu_", passes_scale=True, clips_at_zero=True),
    _line(Kind.ACTIVATION, "ReLU6", "relu6 relu6_", clips_at_zero=True),
    _line(
        Kind.LEAKY_RELU,
        "LeakyReLU PReLU RReLU",
        "leaky_relu leaky_relu_ prelu rrelu rrelu_",
        passes_scale=True,
    ),
    _line(
        Kind.ACTIVATION,
        "ELU CELU SELU GELU SiLU Mish Sigmoid LogSigmoid Tanh Hardtanh Hardsigmoid Hardswish Softplus "
        "Softsign Softshrink Hardshrink Tanhshrink Threshold",
        "elu elu_ celu celu_ selu selu_ gelu silu silu_ mish sigmoid sigmoid_ expit logsigmoid tanh tanh_ "
        "hardtanh hardtanh_ hardsigmoid hardswish hardswish_ softplus softsign softshrink hardshrink "
        "tanhshrink threshold threshold_ clamp clamp_ clip clip_ clamp_min clamp_max erf",
    ),
    _line(Kind.GATE, "GLU", "glu"),
    _line(
        Kind.SOFTMAX,
        "Softmax Softmax2d LogSoftmax Softmin",
        "softmax _softmax log_softmax _log_softmax softmin",
    ),
    # Arithmetic, number by number.
    _line(Kind.ADD, "", "add add_ iadd __add__ __radd__ __iadd__"),
    _line(Kind.SUBTRACT, "", "sub sub_ subtract isub rsub __sub__ __rsub__ __isub__"),
    _line(Kind.MULTIPLY, "", "mul mul_ multiply imul __mul__ __rmul__ __imul__"),
    _line(Kind.DIVIDE, "", "div div_ divide true_divide truediv itruediv floordiv floor_divide"),
    _line(
        Kind.ELEMENTWISE,
        "",
        "pow sqrt rsqrt square exp log log1p expm1 abs neg negative sign sin cos reciprocal round floor "
        "ceil trunc frac remainder mod maximum minimum where masked_fill masked_fill_ lerp addcmul "
        "addcdiv atan2 tril triu logical_and logical_or logical_not logical_xor bitwise_and bitwise_or "
        "bitwise_not and_ or_ invert nan_to_num",
    ),
    _line(Kind.COMPARE, "", "eq ne lt le gt ge isnan isinf isfinite allclose equal"),
    # Many numbers into one.
    _line(Kind.MEAN, "", "mean nanmean"),
    _line(Kind.SUM, "", "sum nansum"),
    _line(
        Kind.REDUCTION,
        "",
        "amax amin max min argmax argmin prod std var std_mean var_mean norm vector_norm logsumexp cumsum "
        "cumprod any all topk sort argsort count_nonzero",
    ),
    _line(
        Kind.MAX_POOL,
        "MaxPool1d MaxPool2d MaxPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d",
        "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
        moves=True,
    ),
    _line(
        Kind.AVERAGE_POOL,
        "AvgPool1d AvgPool2d AvgPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d LPPool1d "
        "LPPool2d LPPool3d",
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
        "lp_pool1d lp_pool2d lp_pool3d",
    ),
    # Numbers moved, picked and put together.
    _line(Kind.RESIZE, "Upsample", "interpolate upsample grid_sample"),
    _line(
        Kind.PAD,
        "ZeroPad1d ZeroPad2d ZeroPad3d ConstantPad1d ConstantPad2d ConstantPad3d ReflectionPad1d "
        "ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d CircularPad1d "
        "CircularPad2d CircularPad3d",
        "pad constant_pad_nd",
        moves=True,
    ),
    _line(Kind.CONCATENATE, "", "cat concat concatenate hstack vstack"),
    _line(Kind.STACK, "", "stack"),
    _line(
        Kind.SPLIT,
        "",
        "split split_with_sizes chunk tensor_split unbind unsafe_split unsafe_chunk",
        moves=True,
        views=True,
        several=True,
    ),
    _line(
        Kind.SLICE,
        "",
        "getitem __getitem__ slice select narrow index_select gather take diagonal",
        moves=True,
        views=True,
    ),
    _line(
        Kind.RESHAPE,
        "Flatten Unflatten",
        "flatten unflatten view reshape view_as reshape_as squeeze squeeze_ unsqueeze unsqueeze_ ravel "
        "_unsafe_view",
        moves=True,
        views=True,
    ),
    _line(
        Kind.PERMUTE,
        "",
        "permute transpose transpose_ t swapaxes swapdims movedim moveaxis mT T",
        moves=True,
        views=True,
    ),
    _line(Kind.CHANNEL_SHUFFLE, "ChannelShuffle", "channel_shuffle native_channel_shuffle", moves=True),
    _line(Kind.PIXEL_SHUFFLE, "PixelShuffle PixelUnshuffle", "pixel_shuffle pixel_unshuffle", moves=True),
    _line(Kind.PERMUTE, "", "flip roll rot90", moves=True),
    _line(
        Kind.EXPAND,
        "",
        "expand expand_as broadcast_to repeat tile repeat_interleave",
    ),
    _line(Kind.COPY, "", "contiguous clone", moves=True),
    # Nothing, in eval mode.
    _line(Kind.IDENTITY, "Identity", "detach alias lift_fresh_copy", views=True, passes_scale=True),
    _line(
        Kind.DROPOUT,
        "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout",
        "dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout",
        views=True,
        passes_scale=True,
    ),
    # Quantized activations; whatever else has no activations.
    Operation(
        Kind.ROUNDING,
        (ActivationQuantizer, LearnedClip),
        ("fake_quantize_per_tensor_affine", "fake_quantize_per_channel_affine"),
    ),
    _line(Kind.CAST, "", "to float half double bfloat16 long int bool type_as _to_copy"),
    _line(
        Kind.CREATE,
        "",
        "arange zeros ones full empty zeros_like ones_like full_like empty_like new_zeros new_ones "
        "new_full new_empty new_tensor linspace eye rand randn rand_like randn_like tensor as_tensor "
        "one_hot meshgrid",
    ),
    _line(Kind.SHAPE, "", "size shape dim numel ndim device dtype sym_size sym_numel len"),
    _line(
        Kind.CHECK,
        "",
        "_assert _assert_async _assert_scalar _assert_tensor_metadata sym_constrain_range_for_size",
    ),
)
