"""Hateful Memes and MM-IMDb from their fixtures: what is read, and runs with small towers."""

import importlib
import json
import shutil

import jax
import numpy as np
import pytest

import synjax
from configs import mmimdb
from data_prep import convert, fixtures
from data_prep.write import picture_fixture
from launch import stored_run
from synjax import data, methods, train
from synjax.config import checks
from synjax.data import inputs, pictures, tokens
from synjax.data.shards import Shards
from synjax.library import exporting
from synjax.models import pretrained
from synjax.training import feature_cache, frozen_params
from tests import tower_folders

NAMES = ("hateful_memes", "mmimdb")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  pytest.importorskip("tokenizers")
  folder = tmp_path_factory.mktemp("pictures")
  fixtures.make_fixture(
    "hateful_memes", folder / "hateful_memes", num_examples=48,
    cases=("unseen_lists", "no_label"), signal="redundancy",
  )  # fmt: skip
  fixtures.make_fixture("mmimdb", folder / "mmimdb", num_examples=48, cases=(), signal="redundancy")
  for name in NAMES:
    convert.convert(name, folder / name, folder / "shards")
  return folder


def make_config(root, name, method, **fields):
  config = importlib.import_module(f"configs.{name}").get_config(method)
  config.data.data_dir, config.data.resolution = str(root / "shards"), 32
  config.data.tokenizer = str(root / name / "tokenizer")
  config.data.update(fields)
  for modality in config.model.modalities.values():
    modality.encoder.size = "tiny"
  config.optim.frozen = ()
  config.model.width, config.model.num_heads, config.model.num_layers = 32, 2, 1
  config.model.head_hidden = config.model.head_features = 8
  config.num_devices, config.batch_size, config.eval_batch_size = 1, 16, 16
  config.early_stop_patience = None
  return config


def test_memes_are_read_as_they_are_stored(root):
  found = data.load(make_config(root, "hateful_memes", "supervised"))
  assert found.tasks == {"hateful": 2} and found.vocabularies == {"text": 29}
  shards = Shards(root / "shards", "hateful_memes", "default", "")
  known = [row for row, one in enumerate(_rows(shards, "train")) if one["has_label"]]
  np.testing.assert_array_equal(found.train.origin.index, known)
  assert len(known) == shards.counts["train"] - 1
  for split, stored in (("val", "dev_seen"), ("test", "test_seen")):
    batch = getattr(found, split).read(np.arange(3))
    tokenizer = tokens.load("", str(root / "hateful_memes" / "tokenizer"))
    for row, one in zip(range(3), _rows(shards, stored), strict=False):
      ids, (steps,) = tokenizer([one["text"].decode()], 64)
      assert batch["text_length"][row] == steps
      np.testing.assert_array_equal(batch["text"][row, :steps], ids[0])
      np.testing.assert_array_equal(batch["image"][row], pictures.square(one["image"], 32))
      assert batch["label"][row] == one["label"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
  ("argument", "modality"), [("unimodal", "text"), ("unimodal", ""), ("simclr", "image")]
)
def test_presets_with_towers_of_both_take_one_modality(root, name, argument, modality):
  presets = (argument, f"{argument},finetuned") if name == "hateful_memes" else (argument,)
  for preset in presets:
    config = make_config(root, name, preset)
    made = importlib.import_module(f"configs.{name}").get_config(preset).optim
    config.optim.update({"frozen": made.frozen, "lr_scales": made.lr_scales})
    config.method.modality = modality
    found = data.load(config)
    checks.check_config(config, found)
    frozen, scales = frozen_params.parts_of_run(config, found)
    assert {*frozen, *(start for start, _ in scales)} <= {f"encoders_{modality or 'image'}"}


def _rows(shards, split):
  source = shards.source(split)
  return [source[row] for row in range(len(source))]


def test_genres_are_several_labels(root):
  found = data.load(make_config(root, "mmimdb", "infmasking"))
  assert found.multilabels == {"genres": 23} and found.label_kind == "multilabel"
  stored = _rows(Shards(root / "shards", "mmimdb", "default", ""), "test")
  expected = np.stack([one["genres"] for one in stored])
  np.testing.assert_array_equal(found.test.labels["genres"], expected)
  np.testing.assert_array_equal(found.test.arrays["label"], expected)


def test_each_gate_of_a_film_is_in_one_modality_after_its_views(root):
  dataset = data.load(make_config(root, "mmimdb", "supervised"))
  manifest = json.loads((root / "mmimdb" / "split.json.manifest.json").read_text())
  films = json.loads((root / "mmimdb" / "split.json").read_text())["train"]
  stored = _rows(Shards(root / "shards", "mmimdb", "default", ""), "train")
  rows = [films.index(one["imdb_id"].decode()) for one in stored]
  gates = [np.array(manifest["sources"]["train"][f"gate_{i}"], bool)[rows] for i in (1, 2)]
  batch = dataset.train.read(np.arange(len(rows)))
  keys = jax.random.split(jax.random.key(0), len(rows))
  seen = dataset.transforms["image"].evaluate(keys, batch["image"]).mean((1, 2, 3))
  np.testing.assert_array_equal(seen > (seen.min() + seen.max()) / 2, gates[0])
  tokenizer = tokens.load("", str(root / "mmimdb" / "tokenizer"))
  word = int(tokenizer([picture_fixture.WORDS[2][0]], 3)[0][0, 1])
  told = np.asarray(dataset.transforms["text"].evaluate(keys, batch["text"]))
  np.testing.assert_array_equal((told == word).any(1), gates[1])


def test_films_of_one_genre_alone_are_a_dataset_of_classes(tmp_path):
  pytest.importorskip("tokenizers")
  fixtures.make_fixture("mmimdb", tmp_path / "mmimdb", num_examples=48, cases=())
  names, wanted = ("Drama", "Comedy", "Horror"), {}
  for i, file in enumerate(sorted((tmp_path / "mmimdb" / "dataset").glob("*.json"))):
    film = json.loads(file.read_text())
    film["genres"] = [names[i % 3]] if i % 2 else ["Drama", "War"]
    file.write_text(json.dumps(film))
    wanted[file.stem] = i % 3 if i % 2 else None
  convert.convert("mmimdb", tmp_path / "mmimdb", tmp_path / "shards")
  config = make_config(tmp_path, "mmimdb", "supervised,five")
  found = data.load(config)
  assert found.tasks == {"genre5": 3} and found.label_kind == "classes"
  classes = found.class_names["genre5"]
  assert classes == ("comedy", "drama", "horror")
  stored = _rows(Shards(tmp_path / "shards", "mmimdb", "default", ""), "test")
  films = [wanted[one["imdb_id"].decode()] for one in stored]
  expected = [classes.index(names[i].lower()) for i in films if i is not None]
  np.testing.assert_array_equal(found.test.labels["genre5"], expected)
  assert found.test.read(np.arange(2))["label"].tolist() == expected[:2]


def test_frozen_features_are_those_of_the_towers(root, golden, tmp_path):
  """docs/spec/baselines.md 3.4: V, L, V+L are probes of what the weights say, without training."""
  config = make_config(root, "mmimdb", "clip,frozen")
  config.optim.frozen = ("encoders_image", "encoders_text")
  towers = {}
  for name, case in (("image", "clip_vision"), ("text", "distilbert")):
    folder = tower_folders.write_case(golden, tmp_path / name, case)
    config.model.modalities[name].encoder.size = ""
    config.model.modalities[name].encoder.weights = str(folder)
    towers[name] = pretrained.load(folder)
  config.model.width, config.data.resolution, config.data.max_length = 24, 16, 12
  dataset = data.load(config)
  method = methods.create(config, dataset)
  batch = dict(dataset.test.read(np.arange(3)))
  keys = jax.random.split(jax.random.key(0), 3)
  batch["image"] = dataset.transforms["image"].evaluate(keys, batch["image"])
  shapes = jax.eval_shape(method.init, jax.random.key(0), batch)
  params, state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
  params |= {f"encoders_{name}": tower.variables["params"] for name, tower in towers.items()}
  image = towers["image"].module.apply(towers["image"].variables, batch["image"])[:, 0]
  valid = np.arange(batch["text"].shape[1]) < np.asarray(batch["text_length"])[:, None]
  steps = towers["text"].module.apply(towers["text"].variables, batch["text"], valid=valid)
  text = [np.asarray(steps[i])[valid[i]].mean(0) for i in range(3)]
  found = method.embed(params, state, batch)
  np.testing.assert_allclose(found, np.concatenate([image, text], 1), rtol=1e-5, atol=1e-5)
  with pytest.raises(
    ValueError, match="the method of frozen, .* expected one of clip, found .comm."
  ):
    mmimdb.get_config("comm,frozen")


@pytest.mark.parametrize("name", NAMES)
def test_new_pictures_and_texts_are_read_as_the_shards_were(root, name):
  config = make_config(root, name, "supervised")
  dataset = data.load(config)
  shards = Shards(root / "shards", name, "default", "")
  stored = _rows(shards, "test_seen" if name == "hateful_memes" else "test")[:4]
  text = {
    "hateful_memes": lambda one: one["text"],
    "mmimdb": lambda one: max(one["plots"], key=lambda plot: len(plot.decode())),
  }[name]
  given = {
    "image": np.stack([one["image"] for one in stored]),
    "text": [text(one).decode() for one in stored],
  }
  schema = inputs.describe(dataset)
  expected = dataset.test.read(np.arange(4))
  ids = {"image": given["image"], "text": expected["text"], "text_length": expected["text_length"]}
  for arrays in (given, ids):
    found = inputs.read("new", arrays, schema, config, None).rows.read(np.arange(4))
    for field in ("image", "text", "text_length"):
      np.testing.assert_array_equal(found[field], expected[field])
  for wrong in (np.zeros((4, 3)), np.full((4, 3), -1), np.array([1, 2, 3, 4])):
    with pytest.raises(ValueError, match="new: text: expected texts, strings") as error:
      inputs.read("new", {"text": wrong}, schema, config, None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_streamed_examples_are_those_in_memory(root, name):
  splits = [
    data.load(make_config(root, name, "supervised", resident_gb=size)).train for size in (2.0, 0.0)
  ]
  one, other = (split.read(np.array([5, 0])) for split in splits)
  assert one.keys() == other.keys()
  for field in one:
    np.testing.assert_array_equal(one[field], other[field])


def test_a_tokenizer_with_more_ids_than_the_tower_is_refused(root):
  config = make_config(root, "hateful_memes", "supervised")
  config.model.modalities.text.encoder.vocabulary = 20
  with pytest.raises(ValueError, match="embeddings of the tokenizer's 29 ids, found 20 in Deberta"):
    methods.create(config, data.load(config))


def test_towers_from_folders_bring_their_tokenizer(root, tmp_path, golden):
  config = make_config(root, "hateful_memes", "supervised", tokenizer="")
  for name, case in (("image", "clip_vision"), ("text", "deberta")):
    folder = tower_folders.write_case(golden, tmp_path / name, case)
    config.model.modalities[name].encoder.size = ""
    config.model.modalities[name].encoder.weights = str(folder)
  (tmp_path / "text" / "tokenizer.json").write_bytes(picture_fixture.make_tokenizer())
  dataset = data.load(config)
  assert dataset.vocabularies == {"text": 29}
  method = methods.create(config, dataset)
  assert method.model.encoders["image"].output == "raw_tokens"
  config.model.modalities.image.encoder.size = "tiny"
  with pytest.raises(ValueError, match="size: expected none beside weights"):
    methods.create(config, dataset)


def test_a_list_that_was_not_converted_is_named(tmp_path):
  fixtures.make_fixture("hateful_memes", tmp_path / "hateful_memes", cases=())
  convert.convert("hateful_memes", tmp_path / "hateful_memes", tmp_path / "shards")
  with pytest.raises(ValueError, match="found no test_seen: its list was not in the source"):
    data.load(make_config(tmp_path, "hateful_memes", "supervised"))


def test_a_test_list_without_labels_is_named(tmp_path):
  """That of the competition's first phase, which many have."""
  pytest.importorskip("tokenizers")
  source = tmp_path / "hateful_memes"
  fixtures.make_fixture("hateful_memes", source, cases=("unseen_lists", "unlabelled_test"))
  convert.convert("hateful_memes", source, tmp_path / "shards")
  with pytest.raises(
    ValueError, match="test_seen: expected examples with hateful, found none among 10"
  ):
    data.load(make_config(tmp_path, "hateful_memes", "supervised"))


def test_the_tokenizer_of_a_fixture_knows_its_words():
  for pair in picture_fixture.WORDS:
    for word in pair:
      assert f'"{word}"'.encode() in picture_fixture.make_tokenizer()


TOWERS = {"hateful_memes": ("clip_vision", "deberta"), "mmimdb": ("clip_vision", "distilbert")}


def with_towers(config, golden, folder, name, image=""):
  """The config with towers of the golden file's weights, written to `folder`."""
  for modality, case in zip(("image", "text"), TOWERS[name], strict=True):
    case = image if image and modality == "image" else case
    tower = tower_folders.write_case(golden, folder / modality, case)
    config.model.modalities[modality].encoder.size = ""
    config.model.modalities[modality].encoder.weights = str(tower)
  (folder / "text" / "tokenizer.json").write_bytes(picture_fixture.make_tokenizer())
  config.data.tokenizer, config.data.resolution, config.data.max_length = "", 16, 12
  config.model.width = 24
  config.optim.frozen = ("encoders_image", "encoders_text")
  return config


@pytest.mark.whole_run
@pytest.mark.parametrize(
  ("name", "method"),
  [("hateful_memes", "supervised"), pytest.param("mmimdb", "infmasking", marks=pytest.mark.slow)],
)
def test_a_run_embeds_raw_pictures_and_texts_as_it_did_and_outlives_its_towers_folder(
  root, golden, tmp_path, name, method
):
  config = with_towers(make_config(root, name, method), golden, tmp_path / "a", name)
  for when in ("total", "log", "eval", "checkpoint"):
    config[f"{when}_epochs"], config[f"{when}_steps"] = None, 1
  workdir = tmp_path / "run"
  found = train.train_and_evaluate(config, str(workdir))
  (tmp_path / "a").rename(tmp_path / "b")
  for modality in ("image", "text"):
    config.model.modalities[modality].encoder.weights = str(tmp_path / "b" / modality)
  assert train.train_and_evaluate(config, str(workdir)) == found
  tensors = tower_folders.state(golden, "clip_vision")
  tensors["visual_projection.weight"] = tensors["visual_projection.weight"] + 1
  other = tower_folders.write(tmp_path / "c", tower_folders.config(golden, "clip_vision"), tensors)
  config.model.modalities.image.encoder.weights = str(other)
  with pytest.raises(ValueError, match="image.encoder.weights: .*/c.*something else: hash"):
    train.train_and_evaluate(config, str(workdir))

  shutil.rmtree(tmp_path / "b")  # with the tokenizer, of which the run keeps a copy
  model = synjax.load(workdir)
  exporting.export(model, tmp_path / "exported")
  again = stored_run.load("--workdir", workdir)
  assert again.dataset.vocabularies == {"text": 29}
  again.checkpointer.close()
  kept = np.load(workdir / "embeddings.npz")
  expected = kept["test/embeddings"][0]
  split = {"hateful_memes": "test_seen", "mmimdb": "test"}[name]
  stored = [
    _rows(Shards(root / "shards", name, "default", ""), split)[i] for i in kept["test/index"]
  ]
  text = {
    "hateful_memes": lambda one: one["text"],
    "mmimdb": lambda one: max(one["plots"], key=lambda plot: len(plot.decode())),
  }[name]
  given = {
    "image": [one["image"] for one in stored],
    "text": [text(one).decode() for one in stored],
  }
  embedded = model.embed(given)
  np.testing.assert_allclose(embedded, expected, rtol=1e-4, atol=1e-5)
  shutil.copytree(workdir / "tokenizer", tmp_path / "kept")
  shutil.rmtree(workdir / "tokenizer")  # as of an older version
  with pytest.raises(ValueError, match="found no such folder.*tokenizer/text of the run's"):
    synjax.load(workdir).embed(given)
  exported = synjax.load(tmp_path / "exported")
  np.testing.assert_array_equal(exported.embed(given), embedded)
  file = tmp_path / "exported" / "tokenizer" / "text" / "tokenizer.json"
  file.write_text(file.read_text().replace('"Lowercase"', '"NFC"'))
  with pytest.raises(ValueError, match="tokenizer.json: expected the tokenizer .*hash.*found"):
    exported.embed(given)
  shutil.copytree(tmp_path / "kept", workdir / "tokenizer")
  larger = [
    np.repeat(np.repeat(one, 1 + i, 0), 1 + i, 1) for i, one in enumerate(given["image"][:3])
  ]
  mixed = model.embed({"image": larger, "text": given["text"][:3]})
  np.testing.assert_allclose(mixed[0], expected[0], rtol=1e-4, atol=1e-5)
  alone = [
    model.embed({"image": [one], "text": [t]})[0]
    for one, t in zip(larger, given["text"][:3], strict=True)
  ]
  np.testing.assert_allclose(mixed, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("name", "method", "trunk"),
  [
    ("hateful_memes", "supervised", "transformer"),
    ("hateful_memes", "synib", "transformer"),
    ("hateful_memes", "synib", "mlp"),
    ("hateful_memes", "supervised", "cached"),
    ("mmimdb", "infmasking", "transformer"),
  ],
)
def test_towers_of_other_widths_than_the_fusion_are_projected(
  root, golden, tmp_path, name, method, trunk
):
  """Widths 16 and 24 to 12: what the adapters give is W x + b of what the towers say, in NumPy."""
  config = make_config(root, name, method)
  with_towers(config, golden, tmp_path, name, "clip_vision_gelu")
  config.data.resolution, config.model.width = 20, 12
  for modality in config.model.modalities.values():
    modality.adapter.name = "projection"
  config.model.normalize_features = False
  config.model.trunk.name = "mlp" if trunk == "mlp" else "transformer"
  dataset = data.load(config)
  batch = dict(dataset.test.read(np.arange(2)))
  keys = jax.random.split(jax.random.key(0), 2)
  batch["image"] = dataset.transforms["image"].evaluate(keys, batch["image"])
  valid = np.arange(batch["text"].shape[1]) < np.asarray(batch["text_length"])[:, None]
  raw = {"image": (batch["image"], None), "text": (batch["text"], valid)}
  if trunk == "cached":
    config.data.cache_features, config.data.cache_dir = True, str(tmp_path / "cache")
    dataset = feature_cache.apply(config, dataset)
    batch = dict(dataset.test.read(np.arange(2)))
  method = methods.create(config, dataset)
  shapes = jax.eval_shape(method.init, jax.random.key(0), batch)
  rng = np.random.default_rng(0)
  params, state = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)
  wanted = {}
  for m, (x, real) in raw.items():
    tower = pretrained.load(tmp_path / m)
    params = params | {f"encoders_{m}": tower.variables["params"]}
    module = method.model.encoders[m]
    said = np.asarray(module.apply({"params": params[f"encoders_{m}"]}, x, valid=real))
    own = params[f"adapters_{m}"]["proj"]
    assert own["kernel"].shape == (said.shape[-1], 12)
    wanted[m] = said @ own["kernel"] + own["bias"]
  assert {wanted[m].shape[-1] for m in wanted} == {12} and method.embed(params, state, batch).shape
  found, _ = method.model.apply({"params": params}, batch, method="tokens_of")
  np.testing.assert_allclose(found["image"], wanted["image"], rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(found["text"][valid], wanted["text"][valid], rtol=1e-4, atol=1e-4)


def test_towers_that_fit_neither_fusion_nor_inputs_are_refused_with_what_to_set(
  root, golden, tmp_path
):
  def refused(message, method="infmasking", **fields):
    config = with_towers(make_config(root, "mmimdb", method), golden, tmp_path, "mmimdb")
    with config.unlocked():
      config.update_from_flattened_dict(fields)
    with pytest.raises(ValueError, match=message) as error:
      dataset = data.load(config)
      made = methods.create(config, dataset)
      jax.eval_shape(made.init, jax.random.key(0), dict(dataset.test.read(np.arange(2))))
    assert "\n" not in str(error.value)

  refused(r"config.model.width: expected .*32, found 24, 24 .*projection", **{"model.width": 32})
  token = {"model.modalities.text.adapter.name": "token"}
  refused(r"config.model.modalities.text.adapter: TokenAdapter expects", **token)
  refused("image.encoder: .*set config.data.resolution to 16", **{"data.resolution": 32})
  refused("text.encoder: .*14 tokens, found .*max_length to at most", **{"data.max_length": 64})
  named = "model.modalities.text.encoder.weights"
  refused("text.encoder.weights: expected .* found ClipVision", **{named: str(tmp_path / "image")}
    | {"data.tokenizer": str(root / "mmimdb" / "tokenizer")})  # fmt: skip
  refused("text.encoder.weights: expected tokenizer.json", **{named: str(tmp_path / "none")})
  refused("config.method.name: mae makes tokens of numbers", "mae")


@pytest.mark.whole_run
@pytest.mark.parametrize("name", ["hateful_memes", pytest.param("mmimdb", marks=pytest.mark.slow)])
def test_planted_labels_are_found_with_small_towers(root, tmp_path, name):
  config = make_config(root, name, "supervised")
  config.optim.lr, config.optim.schedule = 3e-3, "constant"
  config.total_epochs = config.eval_epochs = config.checkpoint_epochs = 8.0
  best = train.train_and_evaluate(config, str(tmp_path))["rows"][0]["best"]
  if name == "hateful_memes":
    assert best["test/label/macro_accuracy_low"] > 0.5 and best["test/label/auroc"] > 0.8
  else:
    assert {"test/label/macro_f1", "test/label/weighted_f1"} <= set(best)


@pytest.mark.slow
def test_synergy_of_poster_and_plot_is_found(tmp_path):
  """Of every genre all that can be told is the label, the exclusive or of a bit of each modality."""
  pytest.importorskip("tokenizers")
  fixtures.make_fixture("mmimdb", tmp_path / "mmimdb", num_examples=400, cases=(), signal="synergy")
  convert.convert("mmimdb", tmp_path / "mmimdb", tmp_path / "shards")
  config = make_config(tmp_path, "mmimdb", "supervised")
  config.model.trunk.name, config.model.normalize_features = "mlp", True
  config.batch_size, config.optim.lr, config.optim.schedule = 32, 2e-3, "constant"
  config.total_epochs = config.eval_epochs = config.checkpoint_epochs = 12.0
  best = train.train_and_evaluate(config, str(tmp_path / "run"))["rows"][0]["best"]
  assert best["test/label/macro_accuracy_low"] > 0.6
  for other in ("image", "text"):
    low, high = (
      best[f"test/without_{other}/label/macro_accuracy_{end}"] for end in ("low", "high")
    )
    assert low < 0.5 < high


def test_token_ids_that_the_tokenizer_does_not_have_are_refused(root):
  config = make_config(root, "hateful_memes", "supervised")
  schema = {"modalities": [{"name": "text", "shape": [64]}]}
  known = inputs._token_ids("text", "text", np.array([[28]]), schema, config)
  assert known["text"].tolist() == [[[28.0]]]
  with pytest.raises(ValueError, match="expected token ids below 29, .* found 29"):
    inputs._token_ids("text", "text", np.array([[29]]), schema, config)
