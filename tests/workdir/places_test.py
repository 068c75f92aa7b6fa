import pathlib

from ml_collections import ConfigDict

from synjax.workdir import places


def make(**fields):
  encoder = {"name": "deberta", "weights": fields.get("weights", ""), "size": ""}
  data = {"data_dir": fields.get("data_dir", ""), "tokenizer": fields.get("tokenizer", "")}
  model = {"modalities": {"text": {"encoder": encoder}, "image": {"encoder": {"weights": ""}}}}
  return {"seed": 3, "initialize_from": fields.get("start", ""), "data": data, "model": model}


def test_places_become_absolute_and_those_that_are_not_given_stay(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("HOME", "/home/me")
  config = ConfigDict(make(weights="~/towers/t", tokenizer="../t", data_dir="d", start="runs/a"))
  found = places.resolve(config).to_dict()
  here = pathlib.Path.cwd()
  assert found == make(
    weights="/home/me/towers/t",
    tokenizer=f"{here}/../t",
    data_dir=f"{here}/d",
    start=f"{here}/runs/a",
  )
  assert config.data.tokenizer == "../t"


def test_configs_are_alike_wherever_things_lie():
  plain, placed = make(), make(weights="/a", tokenizer="/b", data_dir="/c", start="/d")
  assert places.emptied(placed) == plain == places.emptied(plain)
  assert places.without(placed) == places.without(plain)
  assert set(places.without(plain)) == {"seed", "data", "model"}
  assert places.without(plain)["data"] == {"tokenizer": ""}
  other = make() | {"seed": 4}
  assert places.without(other) != places.without(plain)


def test_a_config_that_stands_alone_names_no_folder_but_that_of_the_tokenizer(tmp_path):
  spelled = {"text": {"name": "deberta", "vocabulary": 5}}
  found = places.standing_alone(make(weights="/a"), tmp_path, spelled)
  assert found["model"]["modalities"]["text"]["encoder"] == spelled["text"]
  assert found["data"]["tokenizer"] == "/a"
  given = places.standing_alone(make(weights="/a", tokenizer="/b"), tmp_path, spelled)
  assert given["data"]["tokenizer"] == "/b"
  assert places.standing_alone(make(weights="/a"), tmp_path, {}) == make(weights="/a")
  kept = tmp_path / "tokenizer"
  (kept / "text").mkdir(parents=True)
  (kept / "text" / "spm.model").touch()
  for config in (make(weights="/a"), make(weights="/a", tokenizer="/b")):
    assert places.standing_alone(config, tmp_path, spelled)["data"]["tokenizer"] == str(kept)
    assert places.standing_alone(config, tmp_path, {})["data"]["tokenizer"] == str(kept)


def test_who_stands_alone_computes_features_with_its_own_towers(tmp_path):
  config = make(weights="/a")
  config["data"]["cache_features"] = True
  assert places.standing_alone(config, tmp_path, {})["data"]["cache_features"]
  alone = places.standing_alone(config, tmp_path, {"text": {"name": "deberta"}})
  assert not alone["data"]["cache_features"] and config["data"]["cache_features"]
