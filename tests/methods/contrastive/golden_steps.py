"""Whole training steps against the published implementations, in float64."""

import importlib.util
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from synjax import methods
from synjax.training import optim
from tests import tiny, torch_weights

GOLDEN = pathlib.Path(__file__).parents[2] / "golden"
spec = importlib.util.spec_from_file_location("recipe", GOLDEN / "recipe.py")
recipe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recipe)


def create(name, case, meta):
  config = tiny.get_config(name)
  config.model.update(
    {
      "width": meta["embed"],
      "num_heads": meta["heads"],
      "num_layers": meta["layers"],
      "head_hidden": meta["mlp_hidden"],
      "head_features": meta["out"],
    }
  )
  config.model.modalities.table.encoder = ConfigDict({"name": "mlp", "hidden": 10, "features": 6})
  config.method.update({k: v for k, v in meta["loss"].items() if k in config.method})
  config.optim.update({"lr": meta["lr"], "weight_decay": meta["weight_decay"]})
  return config, methods.create(config, tiny.load_dataset(config))


def weight_names(name, meta):
  """Maps the published names of the two-modality model to ours."""
  masks = name == "infmasking"
  return (
    torch_weights.feature_adapter("encoder.input_adapters.0", ("adapters_table",))
    | torch_weights.mlp("encoder.encoders.0", ("encoders_table",))
    | torch_weights.gru("encoder.encoders.1", ("encoders_series",))
    | torch_weights.fusion(
      "encoder.fusion_transformer", ("fusion",), num_layers=meta["layers"], mask_token=masks
    )
    | torch_weights.projection_head("head", ("head",))
  )


def follow(name, file):
  """Follows the published training steps of a method, in float64."""
  arrays = np.load(GOLDEN / f"{file}.npz")
  ((case, meta),) = json.loads(str(arrays["__meta__"])).items()
  golden = {k[len(case) + 1 :]: arrays[k] for k in arrays.files if k.startswith(f"{case}/")}
  config, method = create(name, case, meta)
  weights = recipe.recipe(meta["recipe_shapes"], meta["recipe_seed"])
  names = weight_names(name, meta)
  variables = torch_weights.variables(weights, names)
  params, model_state = variables["params"], {"batch_stats": variables["batch_stats"]}
  batch = {f"aug{v}": {"table": golden[f"x{v}_0"], "series": golden[f"x{v}_1"]} for v in (1, 2)}
  progress = jnp.float64((meta["epoch"] + 1) / meta["max_epochs"])
  info = methods.Info(
    step=0, progress=progress, key=jax.random.key(0), index=jnp.arange(meta["batch"])
  )
  optimizer = optim.create_optimizer(
    config.optim,
    {"optim.lr": meta["lr"], "optim.weight_decay": meta["weight_decay"]},
    steps_per_epoch=1,
    total_steps=100,
  )
  opt_state = optimizer.init(params)

  @jax.jit
  def step(params, model_state, opt_state, keeps):
    if name == "infmasking":
      method.sample_keep = lambda view, info, lengths, valid: (keeps[view], None)

    def objective(params):
      out = method.loss(params, model_state, batch, info)
      return sum(out.losses.values()), out

    (loss, out), grads = jax.value_and_grad(objective, has_aux=True)(params)
    updates, opt_state_ = optimizer.update(grads, opt_state, params)
    return (
      optax.apply_updates(params, updates),
      out.model_state,
      opt_state_,
      loss,
      grads,
      out.metrics,
    )

  def compare(ours, prefix, rtol, atol):
    state = torch_weights.read_prefix(golden, prefix)
    theirs = torch_weights.variables(state, torch_weights.only(names, "params"))["params"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), ours, theirs)

  if name == "comm":  # CoMM's fusion has no mask token; ours exists always and gets no gradient
    params["fusion"]["mask_token"] = jnp.zeros((1, 1, meta["embed"]))
    opt_state = optimizer.init(params)
  for s in range(meta["steps"]):
    keeps = {
      f"aug{v}": golden[f"masks_step{s}/aug{v}_all"] == 1 for v in (1, 2) if name == "infmasking"
    }
    params, model_state, opt_state, loss, grads, metrics = step(
      params, model_state, opt_state, keeps
    )
    np.testing.assert_allclose(loss, golden["losses"][s], rtol=1e-9)
    if s == 0:
      terms = [metrics[f"term/{term}"] for term in method.term_names]
      published = [golden[f"loss_terms/ssl_loss_{i}"] for i in range(len(terms))]
      np.testing.assert_allclose(terms, published, rtol=1e-9)
      compare(without_mask_token(grads, name), "grad_step0/", 1e-7, 1e-10)
      compare(without_mask_token(params, name), "params_after1/", 1e-7, 1e-9)
  compare(without_mask_token(params, name), f"params_after{meta['steps']}/", 1e-7, 1e-9)
  embedding = method.embed(params, model_state, batch["aug1"])
  np.testing.assert_allclose(embedding, golden["eval_embedding"], rtol=1e-5, atol=1e-6)


def without_mask_token(params, name):
  if name == "infmasking":
    return params
  fusion = {k: v for k, v in params["fusion"].items() if k != "mask_token"}
  return {**params, "fusion": fusion}
