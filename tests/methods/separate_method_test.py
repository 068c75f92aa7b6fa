"""What methods without fusion share, of any number of modalities."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from configs import arrays
from synjax import methods, train
from synjax.methods.separate_method import pair_names
from tests import families, tiny
from tests.methods.several import prepare_several


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("name", ["cmc", "cross", "cross_self"])
def test_more_modalities_are_compared_pair_by_pair_and_averaged(name, count, x64):
  method, params, model_state, raw, info = prepare_several(name, count)
  out = jax.jit(lambda p: method.loss(p, model_state, dict.fromkeys(method.views, raw), info))(
    params
  )
  across = {key: v for key, v in out.losses.items() if not key.startswith("self")}
  assert len(across) == count * (count - 1) // 2
  terms = [out.metrics[f"term/{key}"] for key in across]
  np.testing.assert_allclose(sum(across.values()), np.mean(terms), rtol=1e-9)
  assert method.embed(params, model_state, raw).shape == (6, count * (8 if name == "cross" else 6))


@pytest.mark.parametrize("name", ["cross", "cross_self", "cmc"])
def test_one_modality_is_refused_with_what_would_work(name):
  config = tiny.get_config(name)
  dataset = dataclasses.replace(tiny.load_dataset(config), modalities=("table",))
  with pytest.raises(ValueError, match=r"at least 2, found \('table',\); choose simclr"):
    methods.create(config, dataset)


def test_a_batch_of_one_is_refused():
  dataset = tiny.load_dataset(tiny.get_config("cross_self"))
  with pytest.raises(ValueError, match="config.batch_size: the projection head normalises"):
    methods.create(tiny.get_config("cross_self", batch_size=1), dataset)


def test_images_padded_sequences_and_own_arrays_train(tmp_path):
  families.make_data(tmp_path)
  own = families.shrink(arrays.get_config(f"cross_self,{tmp_path}"))
  own.model.modalities.words.encoder.update({"num_layers": 1, "hidden": 8})
  images = families.images(tmp_path, "cross_self")
  padded = families.multibench(tmp_path, "cross", protocol="clean")
  for i, config in enumerate((own, images, padded)):
    config.batch_size = 4
    run = train.Run(config, tmp_path / f"run{i}").restore()
    metrics = run.devices.fetch(run.advance())
    assert all(np.isfinite(value).all() for value in metrics.values())
    run.checkpointer.close()


def test_pairs_keep_their_usual_names_but_where_two_would_share_one():
  pairs = list(itertools.combinations(("a", "b_c", "a_b", "c"), 2))
  names = pair_names("clip", pairs)
  assert names[:3] == ["clip_a+b_c", "clip_a_a_b", "clip_a_c"] and names[-1] == "clip_a_b+c"
  assert len(set(names)) == 6
