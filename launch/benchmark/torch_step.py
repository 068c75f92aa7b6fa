"""InfMasking's training step in plain PyTorch: what `launch.benchmark` measures synjax against.

Written from docs/spec/infmasking.md 1 to 6 in the published manner: the fusion runs on every subset
and on every masked view, K views one after the other in a Python loop, masked views of single
modalities are computed and thrown away. Beyond that it is kept fast: library attention, encoder
layers and GRU, the variance of the bound without its [batch, width, width] matrix, and views that
are given.

Not part of the library: the only file that imports torch (extra `benchmark`), so import it late.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

_Keep = Sequence[torch.Tensor | None]  # of the two views: True = token kept; None: drawn
_EXCLUDED = -1e8  # added to a logit that does not take part


@dataclasses.dataclass(frozen=True)
class Row:
  """Sizes of an experiment.

  Attributes:
    modalities: name -> (encoder "transformer", "mlp" or "gru"; tokens; input features), or of images
      ("alexnet"; tokens; side in pixels).
    width: of tokens and embedding.
    num_layers: of the fusion.
    mask_ratio: share of each modality's tokens that is masked.
    num_views: K.
    temperature: of the losses.
    weights: one a loss term, or () for ones.
    batch: examples a step.
    num_heads: of the fusion.
    head_hidden: hidden width of the projection head.
    head_features: width of a projection.
    lr: learning rate.
    weight_decay: of AdamW.
  """

  modalities: Mapping[str, tuple[str, int, int]]
  width: int
  num_layers: int
  mask_ratio: float
  num_views: int
  temperature: float
  weights: tuple[float, ...] = ()
  batch: int = 64
  num_heads: int = 8
  head_hidden: int = 512
  head_features: int = 256
  lr: float = 1e-3
  weight_decay: float = 1e-2


_VISION, _TEXT, _AUDIO = (("transformer", 20, features) for features in (371, 300, 81))
_PREFER_FULL = (1.0, 1.0, 1.0, 1.0, 5.0)
# Spec 10; sequences at their longest: 20 steps for UR-FUNNY, 50 for MOSI.
ROWS = {
  "trifeature": Row(
    {"image_1": ("alexnet", 36, 224), "image_2": ("alexnet", 36, 224)},
    512, 1, 0.7, 6, 0.1, lr=3e-4, weight_decay=1e-4,
  ),
  "mimic": Row(
    {"tabular": ("mlp", 10, 5), "timeseries": ("gru", 24, 12)},
    512, 1, 0.8, 6, 0.2, _PREFER_FULL, lr=3e-4,
  ),
  "mosi": Row(
    {"vision": ("transformer", 50, 20), "text": ("transformer", 50, 300)}, 40, 1, 0.8, 5, 0.1
  ),
  "urfunny": Row({"vision": _VISION, "text": _TEXT}, 40, 1, 0.5, 4, 0.05, _PREFER_FULL),
  "urfunny3": Row(
    {"vision": _VISION, "text": _TEXT, "audio": _AUDIO}, 40, 2, 0.5, 4, 0.05
  ),
}  # fmt: skip


class _TransformerEncoder(nn.Module):
  """MultiBench's sequence transformer: [batch, length, features] to [..., width].

  Source: docs/spec/infmasking.md 1.2.
  """

  def __init__(self, features: int, width: int):
    super().__init__()
    self.embed = nn.Linear(features, width, bias=False)
    layer = nn.TransformerEncoderLayer(
      width, 5, dim_feedforward=2048, dropout=0.1, batch_first=True, norm_first=True
    )
    self.layers = nn.TransformerEncoder(layer, 5, enable_nested_tensor=False)

  def forward(self, x):
    return self.layers(self.embed(x))


class _TabularEncoder(nn.Module):
  """MIMIC's perceptron and the adapter that makes a token of each feature.

  Source: docs/spec/infmasking.md 1.3, 2.
  """

  def __init__(self, features: int, tokens: int, width: int):
    super().__init__()
    self.first, self.second = nn.Linear(features, 10), nn.Linear(10, tokens)
    self.adapter_weight = nn.Parameter(torch.randn(tokens, width))
    self.adapter_bias = nn.Parameter(torch.randn(tokens, width))

  def forward(self, x):
    x = self.second(F.relu(self.first(x)))
    return x[..., None] * self.adapter_weight + self.adapter_bias


class _GRUEncoder(nn.Module):
  """MIMIC's time series: all states of a GRU (docs/spec/infmasking.md 1.3)."""

  def __init__(self, features: int, width: int):
    super().__init__()
    self.gru = nn.GRU(features, width, batch_first=True)

  def forward(self, x):
    return self.gru(x)[0]


class AlexNet(nn.Sequential):
  """AlexNet's trunk: [batch, 3, side, side] to a map of 256 channels.

  Source: docs/spec/infmasking.md 1.1.
  """

  def __init__(self):
    pooled = lambda *conv: (nn.Conv2d(*conv), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2))  # noqa: E731
    super().__init__(
      *pooled(3, 64, 11, 4, 2), *pooled(64, 192, 5, 1, 2),
      nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(inplace=True),
      nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(inplace=True), *pooled(256, 256, 3, 1, 1),
    )  # fmt: skip


class _ImageEncoder(nn.Module):
  """AlexNet and the adapter that makes a token of each cell of its map.

  Source: docs/spec/infmasking.md 1.1, 2.
  """

  def __init__(self, tokens: int, width: int):
    super().__init__()
    self.trunk, self.adapter = AlexNet(), nn.Conv2d(256, width, 1)
    side, waves = math.isqrt(tokens), width // 4
    angles = torch.outer(torch.arange(side), 1e4 ** (-torch.arange(waves) / waves))
    code = torch.cat([angles.sin(), angles.cos()], 1)
    both = [code[:, None].expand(-1, side, -1), code[None].expand(side, -1, -1)]
    self.register_buffer("positions", torch.cat(both, -1).flatten(0, 1))

  def forward(self, x):
    return self.adapter(self.trunk(x)).flatten(2).transpose(1, 2) + self.positions


class _Block(nn.Module):
  """A block of the fusion transformer (docs/spec/infmasking.md 3.1)."""

  def __init__(self, width: int, num_heads: int, num_layers: int):
    super().__init__()
    self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
    self.attention = nn.MultiheadAttention(width, num_heads, batch_first=True)
    self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
    narrow = (2 * width * num_layers) ** -0.5
    nn.init.normal_(self.attention.in_proj_weight, std=width**-0.5)
    nn.init.normal_(self.attention.out_proj.weight, std=narrow)
    nn.init.normal_(self.expand.weight, std=(2 * width) ** -0.5)
    nn.init.normal_(self.contract.weight, std=narrow)

  def forward(self, x):
    normed = self.ln_1(x)
    x = x + self.attention(normed, normed, normed, need_weights=False)[0]
    hidden = self.expand(self.ln_2(x))
    return x + self.contract(hidden * torch.sigmoid(1.702 * hidden))


class _Fusion(nn.Module):
  """The fusion transformer, one set of tokens at a time (docs/spec/infmasking.md 3)."""

  def __init__(self, width: int, num_heads: int, num_layers: int):
    super().__init__()
    self.cls_token = nn.Parameter(torch.randn(1, 1, width))
    self.mask_token = nn.Parameter(torch.empty(1, 1, width))
    nn.init.trunc_normal_(self.mask_token, std=0.02, a=-0.02, b=0.02)
    self.blocks = nn.ModuleList(_Block(width, num_heads, num_layers) for _ in range(num_layers))
    self.norm = nn.LayerNorm(width)

  def forward(self, tokens, keep=None):
    """Embeds a list of [batch, length, width]; with `keep`, the view in which its False are masked."""
    x = torch.cat(tokens, dim=1)
    if keep is not None:
      keep = keep[..., None].to(x.dtype)
      x = x * keep + (1 - keep) * self.mask_token
    x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
    for block in self.blocks:
      x = block(x)
    return self.norm(x)[:, 0]


class _Head(nn.Sequential):
  """The projection head (docs/spec/infmasking.md 4)."""

  def __init__(self, width: int, hidden: int, features: int):
    super().__init__(
      nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
      nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
      nn.Linear(hidden, features),
    )  # fmt: skip


class Model(nn.Module):
  """Encoders, fusion and head of a row."""

  def __init__(self, row: Row):
    super().__init__()
    self.row = row
    self.encoders = nn.ModuleDict(
      {name: _encoder(*sizes, row.width) for name, sizes in row.modalities.items()}
    )
    self.fusion = _Fusion(row.width, row.num_heads, row.num_layers)
    self.head = _Head(row.width, row.head_hidden, row.head_features)

  def embed_view(self, view: Mapping[str, torch.Tensor], keep: torch.Tensor | None = None):
    """Fuses every subset of one view, and K masked views of every subset.

    Args:
      view: modality -> input.
      keep: bool[K, batch, tokens] of the masked views of the full subset; None: drawn.

    Returns:
      (z: one [batch, width] a subset, unimodal first; masked: as many lists of K such).
    """
    tokens = [encoder(view[name]) for name, encoder in self.encoders.items()]
    subsets = [*([t] for t in tokens), tokens]
    z, masked = [], []
    for subset in subsets:
      full = len(subset) == len(tokens)
      views = []
      for k in range(self.row.num_views):
        drawn = keep[k] if full and keep is not None else self._draw_keep(subset)
        views.append(self.fusion(subset, drawn))
      masked.append(views)
      z.append(self.fusion(subset))
    return z, masked

  def _draw_keep(self, subset: Sequence[torch.Tensor]) -> torch.Tensor:
    """Draws which tokens survive: int(L (1 - r)) of each modality's, those of the smallest noise."""
    drawn = []
    for tokens in subset:
      batch, length, _ = tokens.shape
      rank = torch.rand(batch, length).argsort(dim=1).argsort(dim=1)
      drawn.append(rank < int(length * (1 - self.row.mask_ratio)))
    return torch.cat(drawn, dim=1)

  def forward(self, views: Sequence[Mapping[str, torch.Tensor]], keep: _Keep = (None, None)):
    """Projects the subsets and masked views of two views.

    Returns:
      (z, masked): z a list of two [subsets, batch, features], masked one of two [K, batch, features]
      of the full subset. The projections of the other masked views are computed and not returned.
    """
    embedded = [self.embed_view(view, drawn) for view, drawn in zip(views, keep, strict=True)]
    z = [torch.stack([self.head(subset) for subset in subsets]) for subsets, _ in embedded]
    masked = [[[self.head(m) for m in ms] for ms in masked] for _, masked in embedded]
    return z, [torch.stack(per_subset[-1]) for per_subset in masked]


def _encoder(kind: str, tokens: int, features: int, width: int) -> nn.Module:
  """Creates the encoder of a modality; KeyError on an unknown kind."""
  create = {
    "transformer": lambda: _TransformerEncoder(features, width),
    "mlp": lambda: _TabularEncoder(features, tokens, width),
    "gru": lambda: _GRUEncoder(features, width),
    "alexnet": lambda: _ImageEncoder(tokens, width),
  }
  return create[kind]()


def _shape(kind: str, tokens: int, features: int) -> tuple[int, ...]:
  """Returns the shape of an example of a modality."""
  return {"mlp": (features,), "alexnet": (3, features, features)}.get(kind, (tokens, features))


def info_nce(a: torch.Tensor, b: torch.Tensor, temperature: float) -> torch.Tensor:
  """Symmetric NT-Xent of two [batch, features] of unit vectors (docs/spec/infmasking.md 5.1)."""
  excluded = _EXCLUDED * torch.eye(len(a), dtype=a.dtype)
  cross = a @ b.T / temperature
  rows = torch.cat([cross, a @ a.T / temperature + excluded], dim=1)
  columns = torch.cat([cross.T, b @ b.T / temperature + excluded], dim=1)
  target = torch.arange(len(a))
  return (F.cross_entropy(rows, target) + F.cross_entropy(columns, target)) / 2


def mask_bound(q: torch.Tensor, masked: torch.Tensor, temperature: float, rho: float):
  """The term of infinite masking of q [batch, features] and masked [K, batch, features].

  Source: docs/spec/infmasking.md 5.3.
  """
  others = _EXCLUDED * torch.eye(len(q), dtype=q.dtype)
  cosines = torch.einsum("bd,kcd->kbc", q, masked)
  own = torch.diagonal(cosines, dim1=1, dim2=2)
  mean = own.mean(0) / temperature
  positive = mean + rho / (2 * temperature**2) * own.var(0, correction=0)
  negatives = [*(cosines / temperature + others), q @ q.T / temperature + others]
  logits = torch.cat([positive[:, None], *negatives], dim=1)
  return (torch.logsumexp(logits, dim=1) - mean).mean()


def loss_terms(
  z: Sequence[torch.Tensor], masked: Sequence[torch.Tensor], temperature: float, rho: float
) -> torch.Tensor:
  """The n + 3 terms of InfMasking on raw projections, in published order.

  Source: docs/spec/infmasking.md 5.2 to 5.4.

  Args:
    z: two [subsets, batch, features], the full subset last.
    masked: two [K, batch, features] of the full subset.
    temperature: of the logits.
    rho: factor of the variance.
  """
  (a, b), masks = ([F.normalize(x, dim=-1, eps=1e-12) for x in pair] for pair in (z, masked))
  bounds = [mask_bound(x[-1], m, temperature, rho) for x, m in zip((a, b), masks, strict=True)]
  aligned = [
    (info_nce(a[i], b[-1], temperature) + info_nce(b[i], a[-1], temperature)) / 2
    for i in range(len(a))
  ]
  return torch.stack([*bounds, *aligned])


def create_optimizer(model: nn.Module, row: Row) -> torch.optim.Optimizer:
  """AdamW with the published groups: no decay for vectors and for names with bias, ln, bn.

  Source: docs/spec/infmasking.md 6.
  """
  groups = {True: [], False: []}
  for name, parameter in model.named_parameters():
    exempt = parameter.ndim < 2 or any(word in name for word in ("bias", "ln", "bn"))
    groups[not exempt].append(parameter)
  return torch.optim.AdamW(
    [
      {"params": groups[True], "weight_decay": row.weight_decay},
      {"params": groups[False], "weight_decay": 0.0},
    ],
    lr=row.lr,
  )


class InfMaskingStep:
  """A row's model and optimizer, and two fixed views to train on."""

  def __init__(self, row: Row, seed: int = 0):
    """Draws weights and views."""
    torch.manual_seed(seed)
    self.row = row
    self.model = Model(row).train()
    self.optimizer = create_optimizer(self.model, row)
    self.views = [
      {name: torch.randn(row.batch, *_shape(*sizes)) for name, sizes in row.modalities.items()}
      for _ in range(2)
    ]

  def loss(self, rho: float = 0.5, keep: _Keep = (None, None)) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (the loss, its terms) on the views; `keep` as in `Model.embed_view`, one a view."""
    z, masked = self.model(self.views, keep)
    terms = loss_terms(z, masked, self.row.temperature, rho)
    weights = torch.tensor(self.row.weights or (1.0,) * len(terms), dtype=terms.dtype)
    return (weights * terms).mean(), terms

  def step(self, rho: float = 0.5, keep: _Keep = (None, None)) -> float:
    """Does one training step; returns the loss before it."""
    self.optimizer.zero_grad()
    total, _ = self.loss(rho, keep)
    total.backward()
    self.optimizer.step()
    return total.item()


def count_operations(step: InfMaskingStep) -> float:
  """Returns the operations (two a multiply-add) of the matrix products of one training step.

  Counted on a fresh step of the same row. Attention runs as plain products meanwhile: the counter does
  not know the fused kernel of CPUs.
  """
  fresh = InfMaskingStep(step.row)
  with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
    fresh.step()
  return float(counter.get_total_flops())
