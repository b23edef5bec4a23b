"""What cannot be compressed is refused by name, with what to do, before anything has changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import pithnet as pn
from pithnet.surgery import weighted_layers

from .networks import numbers


class Net(nn.Module):
    """Linear layers around whatever is odd."""

    def __init__(self, odd: nn.Module) -> None:
        super().__init__()
        self.before, self.odd, self.after = nn.Linear(4, 4), odd, nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.before(x))


def tied_to(build: Callable[[nn.Parameter], nn.Module]) -> Callable[[], nn.Module]:
    """A network whose `after.weight` is held by what `build` makes of it too."""

    def make() -> nn.Module:
        model = Net(nn.Identity())
        model.odd = build(model.after.weight)
        return model

    return make


def same_memory(weight: nn.Parameter) -> nn.Module:
    found = nn.Linear(4, 4)
    found.weight = nn.Parameter(weight.data)
    return found


def by_hook(layer: nn.Module) -> nn.Module:
    """A weight that is set anew before each forward pass."""
    weight = layer.weight.detach()
    del layer.weight
    layer.register_parameter("seed", nn.Parameter(weight))
    layer.weight = weight * 2
    return layer


def integers() -> nn.Module:
    found = nn.Linear(4, 4)
    found.weight = nn.Parameter(torch.ones(4, 4, dtype=torch.int8), requires_grad=False)
    return found


def quantized() -> nn.Module:
    from torch.ao.nn import qat
    from torch.ao.quantization import get_default_qat_qconfig

    return Net(qat.Linear(4, 4, qconfig=get_default_qat_qconfig()))


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "weight_norm": (
        lambda: Net(parametrizations.weight_norm(nn.Linear(4, 4))),
        r"odd with a _WeightNorm parametrization cannot .*remove_parametrizations, or add 'odd' to skip",
    ),
    "spectral_norm": (
        lambda: Net(parametrizations.spectral_norm(nn.Linear(4, 4))),
        r"odd with a _SpectralNorm parametrization",
    ),
    "older weight_norm": (
        lambda: Net(nn.utils.weight_norm(nn.Linear(4, 4))),
        r"odd with weight_norm cannot be copied, nor .*; take it off .*utils\.remove_weight_norm$",
    ),
    "older spectral_norm": (
        lambda: Net(nn.utils.spectral_norm(nn.Linear(4, 4))),
        r"odd with spectral_norm cannot .*remove_spectral_norm, or",
    ),
    "torch's pruning": (
        lambda: Net(prune.random_unstructured(nn.Linear(4, 4), "weight", 0.5)),
        r"odd with a mask of torch's cannot be copied, nor compressed; .*prune\.remove$",
    ),
    "a hook": (lambda: Net(by_hook(nn.Linear(4, 4))), "odd, whose weight is no parameter, cannot"),
    "sparse gradients": (
        lambda: Net(nn.Embedding(4, 4, sparse=True)),
        r"odd \(Embedding\) with sparse gradients cannot .*; build it with sparse=False, or add 'odd'",
    ),
    "max_norm": (lambda: Net(nn.EmbeddingBag(4, 4, max_norm=1.0)), r"odd \(EmbeddingBag\), which rescales"),
    "integers": (lambda: Net(integers()), r"odd\.weight, which is torch\.int8, cannot be compressed"),
    "complex": (
        lambda: Net(nn.Linear(4, 4, dtype=torch.complex64)),
        r"odd\.weight, which is torch\.complex64,",
    ),
    "same memory": (
        tied_to(same_memory),
        r"after\.weight, which shares the memory of odd\.weight without .*a\.weight = b\.weight, or add",
    ),
    "quantized": (quantized, r"odd \(Linear\) cannot be compressed; start from the float model, or"),
    "scripted": (
        lambda: Net(torch.jit.script(nn.Linear(4, 4))),
        r"odd \(RecursiveScriptModule\) cannot be compressed; start from the module before scripting",
    ),
}
UNCOPYABLE = ("older weight_norm", "torch's pruning")
PASSES: dict[str, Callable[..., object]] = {
    "prune": lambda model, **skip: pn.prune(model, 0.5, **skip),
    "prune_by_std": lambda model, **skip: pn.prune_by_std(model, 0.5, **skip),
    "share": lambda model, **skip: pn.share(model, 2, **skip),
    "gradual": lambda model, **skip: pn.GradualPruning(model, 0.5, ramp=0.5, **skip),
    "levels": lambda model, **skip: pn.LevelTraining(model, 2, **skip),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name_by_every_pass_and_nothing_has_changed(case: str) -> None:
    model = REFUSED[case][0]()
    before = numbers(model)
    for what in PASSES.values():
        with pytest.raises(pn.ModelError, match=REFUSED[case][1]) as caught:
            what(model)
        assert "\n" not in str(caught.value)
    assert list(before) == list(model.state_dict())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("case", [case for case in REFUSED if case not in UNCOPYABLE])
def test_skipping_does_what_the_message_says(case: str) -> None:
    model = REFUSED[case][0]()
    before, skip = numbers(model), []
    for _ in range(2):
        with pytest.raises(pn.ModelError) as caught:
            pn.prune(model, 0.5, skip=skip)
        skip.append(str(caught.value).rpartition("add '")[2].partition("'")[0])
        if case != "same memory":  # both layers that share it have to be skipped
            break
    record = pn.prune(model, 0.5, skip=skip)
    assert "before" in {row.name for row in record.layers}
    assert not {row.name for row in record.layers} & set(skip)
    state = pn.artifact.plain_state(model)
    assert int((state["before.weight"] == 0).sum()) > 0
    for key, value in before.items():
        if key.split(".")[0] in skip and "parametrizations" not in key:
            assert torch.equal(state[key], value)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("case", UNCOPYABLE)
def test_what_cannot_be_copied_is_refused_however_it_is_used(case: str) -> None:
    model = REFUSED[case][0]()
    recipe = pn.recipe.parse({"name": "x", "steps": [{"share": {"bits": 2, "skip": ["odd"]}}]}, "x")
    for use in (
        lambda: pn.prune(model, 0.5, skip=("odd",)),
        lambda: pn.finalize(model),
        lambda: pn.compress(model, recipe=recipe),
    ):
        with pytest.raises(pn.ModelError, match=REFUSED[case][1]):
            use()


def test_a_model_that_is_such_a_layer_itself() -> None:
    with pytest.raises(pn.ModelError, match=r"^the model \(Embedding\), which rescales .* be compressed$"):
        pn.prune(nn.Embedding(4, 4, max_norm=1.0), 0.5)


def test_lazy_layers_need_a_batch_first() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LazyLinear(3))
    for what in PASSES.values():
        with pytest.raises(
            pn.ModelError, match=r"1 \(LazyLinear\) has no weights yet; run one batch through"
        ):
            what(model)
    recipe = pn.recipe.parse({"name": "x", "steps": [{"share": {"bits": 2}}]}, "x")
    with pytest.raises(pn.ModelError, match=r"1 \(LazyLinear\) has no weights yet"):
        pn.compress(model, recipe=recipe)
    model(torch.randn(2, 4))
    assert [row.size for row in pn.prune(model, 0.5).layers] == [16, 12]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: m.register_buffer("wave", torch.zeros(3, dtype=torch.complex64)),
            "wave is a torch.strided",
        ),
        (lambda m: m.register_buffer("odd", torch.eye(3).to_sparse()), "odd is a torch.sparse_coo"),
    ],
)
def test_what_no_file_holds_is_refused_before_a_run_begins(
    change: Callable[[nn.Module], None], message: str, tmp_path: object
) -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    change(model)
    recipe = pn.recipe.parse({"name": "x", "steps": [{"share": {"bits": 2}}]}, "x")
    with pytest.raises(pn.ArtifactError, match=message):
        pn.compress(model, recipe=recipe)


def test_skipping_one_holder_skips_the_tie_and_any_name_of_a_shared_module_will_do() -> None:
    tied = nn.Sequential(nn.Embedding(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    tied[2].weight = tied[0].weight
    assert [row.name for row in pn.prune(tied, 0.5, skip=("2",)).layers] == ["1"]
    layer = nn.Linear(4, 4)
    twice = nn.Sequential(layer, nn.Linear(4, 4), layer)
    assert [row.name for row in pn.prune(twice, 0.5, skip=("2",)).layers] == ["1"]
    with pytest.raises(pn.RecipeError, match="'3' matches no layer"):
        pn.prune(twice, 0.5, skip=("3",))


def test_attention_is_skipped_by_module_or_by_tensor() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    names = [name for name, _ in weighted_layers(layer)]
    assert names == ["self_attn.in_proj_weight", "self_attn.out_proj", "linear1", "linear2"]
    assert [row.name for row in pn.prune(layer, 0.5, skip=("self_attn",)).layers] == names[2:]
    assert [row.name for row in pn.share(layer, 2, skip=("self_attn.in_proj_weight",)).layers] == names[1:]


def test_a_skipped_normalisation_is_plain_in_the_file() -> None:
    model = Net(parametrizations.weight_norm(nn.Linear(4, 4)))
    pn.share(model, 2, skip=("odd",))
    final = pn.finalize(model, pn.Storage(other="float32"))
    torch.testing.assert_close(final.odd.weight, model.odd.weight)
    assert sorted(final.state_dict()) == sorted(Net(nn.Linear(4, 4)).state_dict())
