"""What is left out is said: GPT-2's Conv1D, experts, bare matrices, recurrent classifiers."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pithnet as pn
from pithnet.run.plan import make_plan
from pithnet.surgery import coverage, weighted_layers
from pithnet.surgery.weights import kinds

SMALL_FILE = pytest.mark.filterwarnings("ignore:.* bytes and this file:pithnet.PithWarning")


class Conv1D(nn.Module):
    """As transformers' GPT-2 has it: (inputs, outputs)."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf) * 0.1), nn.Parameter(torch.zeros(nf))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], -1)


class GPT2(nn.Module):
    """Two blocks of GPT-2, the head tied to the embedding."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(20, width), nn.Embedding(6, width)
        self.h = nn.ModuleList(
            nn.ModuleDict(
                {
                    "ln_1": nn.LayerNorm(width),
                    "c_attn": Conv1D(3 * width, width),
                    "c_proj": Conv1D(width, width),
                    "ln_2": nn.LayerNorm(width),
                    "c_fc": Conv1D(4 * width, width),
                    "mlp_proj": Conv1D(width, 4 * width),
                }
            )
            for _ in range(2)
        )
        self.lm_head = nn.Linear(width, 20, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.h:
            q, k, v = (t[:, None] for t in block["c_attn"](block["ln_1"](x)).chunk(3, -1))
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0]
            x = x + block["c_proj"](attended)
            x = x + block["mlp_proj"](F.gelu(block["c_fc"](block["ln_2"](x))))
        return self.lm_head(x).mean(1)


class Experts(nn.Module):
    """As transformers' Mixtral has them: (experts, outputs, inputs)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.randn(4, 2 * inner, width) * 0.1)
        self.down_proj = nn.Parameter(torch.randn(4, width, inner) * 0.1)

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        for e in range(4):
            gate, up = F.linear(x, self.gate_up_proj[e]).chunk(2, -1)
            out = out + shares[..., e, None] * F.linear(F.silu(gate) * up, self.down_proj[e])
        return out


class Mixtral(nn.Module):
    """Tokens through two blocks of a router and its experts."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(20, width)
        self.layers = nn.ModuleList(
            nn.ModuleDict({"gate": nn.Linear(width, 4, bias=False), "experts": Experts(width, 32)})
            for _ in range(2)
        )
        self.head = nn.Linear(width, 20)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = x + layer["experts"](x, layer["gate"](x).softmax(-1))
        return self.head(x.mean(1))


class Bare(nn.Module):
    """A network of matrices that belong to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.w_in, self.b_in = nn.Parameter(torch.randn(6, 64) * 0.1), nn.Parameter(torch.zeros(64))
        self.w_out = nn.Parameter(torch.randn(64, 20) * 0.1)
        self.more = nn.ParameterList([nn.Parameter(torch.randn(64, 64) * 0.1) for _ in range(2)])
        self.scale = nn.Linear(1, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        x = (self.scale(tokens.float()[..., None])[..., 0] @ self.w_in + self.b_in).relu()
        for w in self.more:
            x = (x @ w).relu()
        return x @ self.w_out


class Recurrent(nn.Module):
    """Tokens through a recurrent layer."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(20, 16), kind(16, 32, 2, batch_first=True)
        self.head = nn.Linear(32, 20)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(tokens))[0][:, -1])


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "gpt2": (GPT2, ()),
    "mixtral": (Mixtral, ("*.experts.*",)),
    "bare": (Bare, ("w_*", "more.*")),
    "lstm": (lambda: Recurrent(nn.LSTM), ()),
    "gru": (lambda: Recurrent(nn.GRU), ()),
}
RECIPE = {
    "name": "cover",
    "batch_size": 8,
    "steps": [
        {"prune": {"sparsity": 0.5, "ramp": 0.5}, "train": {"epochs": 1, "lr": 0.01}},
        {"share": {"bits": 3}, "train": {"epochs": 1, "lr": 0.01}},
    ],
}


@pytest.fixture(autouse=True)
def _transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("transformers.pytorch_utils")
    module.Conv1D = Conv1D
    monkeypatch.setitem(sys.modules, "transformers.pytorch_utils", module)
    registry = {cls: dict(tensors) for cls, tensors in kinds._KINDS.items()}
    monkeypatch.setattr(kinds, "_KINDS", registry)


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[name][0]()


def tokens(seed: int = 1) -> Tensor:
    return torch.randint(0, 20, (8, 6), generator=torch.Generator().manual_seed(seed))


def compress(model: nn.Module, **options: Any) -> pn.CompressionResult:
    batches = [(tokens(), torch.arange(8))]
    return pn.compress(model, train=batches, val=batches, recipe=pn.recipe.parse(RECIPE, "cover"), **options)


@SMALL_FILE
@pytest.mark.parametrize("name", MODELS)
def test_nearly_all_is_covered_and_comes_back_from_the_file(name: str, tmp_path: Path) -> None:
    model, also = build(name), MODELS[name][1]
    result = compress(model, also=also)
    assert result.coverage >= 0.9
    assert all(part.why == "bias and norm" for part in result.left_out)
    left = sum(part.parameters for part in result.left_out)
    total = sum(p.numel() for p in model.parameters())
    assert result.coverage == 1 - left / total
    result.save(tmp_path / "m.pith")
    assert torch.equal(pn.load(tmp_path / "m.pith", model=build(name))(tokens()), result.model(tokens()))
    zeros = sum(int((layer.weight == 0).sum()) for _, layer in weighted_layers(result.model, also))
    assert zeros == round(0.5 * sum(layer.weight.numel() for _, layer in weighted_layers(result.model, also)))


@SMALL_FILE
@pytest.mark.parametrize("name", ["mixtral", "bare"])
def test_the_warning_names_the_fix_and_it_works(name: str) -> None:
    model = build(name)
    with pytest.warns(pn.PithWarning, match=r"% of the parameters will be compressed") as caught:
        result = compress(model)
    assert result.coverage < 0.5
    (message,) = [str(w.message) for w in caught if "no known kind" in str(w.message)]  # once a run
    also = re.search(r"give also=(\[[^]]*\])", message)
    assert also is not None
    patterns = json.loads(also[1].replace("'", '"'))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".* bytes and this file")
        assert compress(build(name), also=patterns).coverage >= 0.9
    calls = re.search(r"call (pithnet\.surgery\.register_kind\(.*\)), or skip", message)
    if calls is not None:
        for call in calls[1].split(" and "):
            eval(call, {"pithnet": pn})
        assert compress(build(name)).coverage >= 0.9


@SMALL_FILE
def test_what_is_skipped_is_no_reason_to_warn() -> None:
    recipe = json.loads(json.dumps(RECIPE))
    for step in recipe["steps"]:
        (step.get("prune") or step.get("share"))["skip"] = ["*.experts.*"]
    batches = [(tokens(), torch.arange(8))]
    result = pn.compress(build("mixtral"), train=batches, recipe=pn.recipe.parse(recipe, "skipping"))
    assert result.coverage < 0.5
    assert [part.why for part in result.left_out[:4]] == ["skipped by you"] * 4
    assert result.left_out[0].name == "layers.0.experts.gate_up_proj"


@SMALL_FILE
@pytest.mark.filterwarnings("ignore:only .* % of the parameters will be compressed")
def test_it_is_said_everywhere(tmp_path: Path) -> None:
    result = compress(build("mixtral"), out=tmp_path / "run")
    share = f"{100 * result.coverage:.1f} % of the parameters are under a mask, codebook or quantizer"
    largest = "largest left out: layers.0.experts.gate_up_proj (kind not known)"
    assert f"{share}; {largest}" in str(result)
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["coverage"] == result.coverage == result.result.coverage
    sizes = [part["parameters"] for part in found["left_out"]]
    assert sizes == sorted(sizes, reverse=True)
    assert found["left_out"][0] == {
        "name": "layers.0.experts.gate_up_proj",
        "parameters": 4096,
        "why": "kind not known",
    }
    planned = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert (planned["coverage"], planned["left_out"]) == (found["coverage"], found["left_out"])
    page = result.report(tmp_path / "report.html").read_text()
    assert f"{100 * result.coverage:.1f} %" in page
    assert "layers.0.experts.gate_up_proj" in page
    from pithnet.cli.tables import plan_table, result_lines

    assert any(share in line for line in result_lines(found))
    assert share in str(plan_table(make_plan(build("mixtral"), pn.recipe.parse(RECIPE, "x")), "x").caption)
    record = pn.prune(build("mixtral"), 0.8)
    assert f" % zeros; {100 * found['coverage']:.1f} % of the network's parameters" in str(record)
    assert "give also=['layers.*.experts.gate_up_proj', 'layers.*.experts.down_proj']" in str(record)


def test_a_pattern_that_matches_nothing_names_the_nearest_and_changes_nothing() -> None:
    model = build("mixtral")
    for call in (
        lambda: pn.prune(model, 0.5, also=["*.expert.*"]),
        lambda: pn.share(model, 2, also=["*.expert.*"]),
        lambda: pn.quantize(model, 4, also=["*.expert.*"], fit="range"),
        lambda: pn.GradualPruning(model, 0.5, ramp=0.5, also=["*.expert.*"]),
        lambda: compress(model, also=["*.expert.*"]),
    ):
        with pytest.raises(
            pn.RecipeError,
            match=r"also: '\*\.expert\.\*' matches no parameter of two dim.*layers\.0\.experts",
        ):
            call()
    assert coverage(model).covered == 0


@pytest.mark.parametrize("name", ["mixtral", "bare"])
def test_bare_parameters_are_what_the_forward_computes_with_and_train(name: str, tmp_path: Path) -> None:
    model, also, x = build(name), MODELS[name][1], tokens()
    before = model(x)
    pn.prune(model, 0.5, also=also)
    assert not torch.equal(model(x), before)
    pn.share(model, 3)  # what one pass took, the next takes too
    assert coverage(model).share >= 0.9
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    start = model(x).detach()
    F.cross_entropy(model(x), torch.arange(8)).backward()
    optimizer.step()
    assert not torch.equal(model(x), start)
    twin = pn.restore(build(name), model.state_dict())
    assert torch.equal(twin(x), model(x))
    pn.save(pn.finalize(model), tmp_path / "m.pith")
    again = pn.load(tmp_path / "m.pith", model=build(name), trainable=True)
    assert coverage(again).share >= 0.9
    assert torch.equal(again(x), pn.load(tmp_path / "m.pith", model=build(name))(x))


@pytest.mark.parametrize("quantizer", ["linear", "dynamic", "lsq"])
def test_experts_are_quantized_each_by_itself(quantizer: str) -> None:
    model = build("mixtral")
    with torch.no_grad():
        model.layers[0]["experts"].down_proj[2] *= 1000
    alone = nn.Sequential(nn.Linear(32, 16, bias=False))
    with torch.no_grad():
        alone[0].weight.copy_(model.layers[0]["experts"].down_proj[1])
    pn.quantize(model, 4, quantizer=quantizer, also=["*.experts.*"], fit="range")
    pn.quantize(alone, 4, quantizer=quantizer, fit="range")
    assert torch.equal(model.layers[0]["experts"].down_proj[1], alone[0].weight)


def test_a_smaller_rival_is_warned_of() -> None:
    step = {"quantize": {"bits": None, "quantizer": "linear"}}
    recipe = pn.recipe.parse({"name": "x", "steps": [step]}, "x")
    model = nn.Sequential(nn.Linear(64, 64))
    with pytest.warns(pn.PithWarning, match=r"takes [\d,]+ bytes and this file [\d,]+; a recipe with more"):
        result = pn.compress(model, recipe=recipe)
    assert result.result.smaller_rival == min(result.result.rivals, key=result.result.rivals.__getitem__)
    assert result.coverage == 0.0
    assert [part.why for part in result.left_out] == ["no pass took it", "bias and norm"]
