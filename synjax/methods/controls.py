"""Controls of SynIB: what its gain is made of, each with one ingredient taken away."""

from synjax import losses, parallel
from synjax.methods.base import Out
from synjax.methods.supervised import Supervised, accuracy, cross_entropy, having
from synjax.methods.synib import SynIB


class FullCorruption(SynIB):
  """Control of SynIB: a whole modality is replaced, c = 1, so that no mask chooses anything."""

  def __init__(self, config, dataset):
    if config.method.mask != "full":
      raise ValueError(f"config.method.mask: expected full, found {config.method.mask!r}")
    super().__init__(config, dataset)


class ConfidencePenalty(Supervised):
  """Control of SynIB: the same penalty on the intact prediction, L += M lambda KL(q(. | x) || uniform).

  What SynIB becomes when its masks are empty, as in the synthetic runs recorded with the released code
  (docs/spec/synib.md 11.1).

  Config (`config.method`): `Supervised`'s and `penalty` lambda >= 0 (traced).
  """

  traced = ("unimodal_weight", "penalty")

  def __init__(self, config, dataset):
    super().__init__(config, dataset)
    self.check_range("penalty", 0)

  def loss(self, params, model_state, batch, info, phase="all"):
    """Computes the supervised terms and the penalty, all on intact inputs."""
    batch = batch["clean"]
    out, logits = self.loss_and_logits(params, model_state, batch, info)
    divergence = parallel.valid_mean(losses.categorical_kl(logits), batch["valid"], info.axis)
    penalty = len(self.dataset.modalities) * info.hyper["method.penalty"] * divergence
    return out.replace(
      losses={**out.losses, "penalty": penalty}, metrics={**out.metrics, "divergence": divergence}
    )


class MaskedAugmentation(SynIB):
  """Control of SynIB: masked copies as training data, no penalty (SynIB, App. G).

  L = mean over the copies {x, (x~_1, x_2), (x_1, x~_2), ...} of CE(y, q) + w sum_m CE(y, q_um). An
  oracle mask corrupts what is NOT informative, so that the label stays readable (docs/spec/synib.md
  8). The copies with a modality masked are those of the examples that have it.

  Config (`config.method`): SynIB's fields of the mask, site "input".
  """

  traced = ("unimodal_weight", "corrupt_probability")

  def asks_heads(self):
    """Returns the setting that relies on the unimodal heads: the mask; there is no reference."""
    return "mask=learned" if self.config.method.mask == "learned" else None

  def __init__(self, config, dataset):
    super().__init__(config, dataset)
    if config.method.site != "input":
      raise ValueError(f"config.method.site: expected input, found {config.method.site!r}")

  def draw(self, name, params, model_state, batch, x, shape, info, real=None):
    """As SynIB's, with the oracle's complement."""
    corrupt, found = super().draw(name, params, model_state, batch, x, shape, info, real)
    return (~corrupt if self.config.method.mask == "oracle" else corrupt), found

  def loss(self, params, model_state, batch, info, phase="all"):
    """Computes the cross-entropies of the union of intact and masked copies."""
    batch = batch["clean"]
    features, valid, model_state = self.encode(params, model_state, batch, info)
    model_state = self.update_moments(model_state, batch, features, valid, info)
    replaced, corrupt, found = self.corrupt(params, model_state, batch, features, valid, info)
    corrupted = self.encode(params, model_state, {**batch, **replaced}, info, "corrupted")[0]
    chosen = list(range(len(features)))
    _, logits = self.fuse_passes(params, features, corrupted, corrupt, valid, chosen, info)
    copies = len(logits)
    counted = [batch["valid"], *(having(name, batch) for name in features)]
    parts = zip(logits, counted, strict=True)
    terms = {"fused": sum(cross_entropy(part, batch, info, own) for part, own in parts) / copies}
    intact = self.unimodal_losses(params, features, valid, batch, info)
    masked = self.unimodal_losses(params, corrupted, valid, batch, info)
    terms |= {n: ((copies - 1) * intact[n] + masked[n]) / copies for n in intact}
    metrics = {"accuracy": accuracy(logits[0], batch, info), **found}
    return Out(terms, model_state, metrics=metrics)
