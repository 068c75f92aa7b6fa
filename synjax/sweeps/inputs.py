"""What the rows of a sweep read: checked, and hashed, once for all rows that read the same."""

import collections
import json
from collections.abc import Callable

from synjax import data
from synjax.config import checks
from synjax.training import sources, warm_start

# Fields that say nothing about what is read, or how.
_NOT_READ = ("seed", "num_seeds", "method", "optim", "model", "probe", "initialize_from")
_MOST = 2  # datasets in memory


class Inputs:
  """`inspect` of `sweep.expand` for runs that `train.train_and_evaluate` does."""

  def __init__(self):
    """Starts with nothing read."""
    self._datasets: collections.OrderedDict[str, data.Dataset] = collections.OrderedDict()
    self._hashes: dict[str, str] = {}  # of folders

  def __call__(self, config) -> dict[str, str]:
    """Checks a config, see `checks.check_config`, and hashes what its run reads.

    Returns:
      "data" -> the dataset's fingerprint; "initialize_from" -> hash of the parameters to start from; the
      field of a tower's weights -> hash of its files.

    Raises:
      ValueError: what the config refuses.
    """
    dataset = self._load(config)
    checks.check_config(config, dataset)
    reads = {"data": dataset.fingerprint}
    if start := config.get("initialize_from"):
      reads["initialize_from"] = self._hash(start, warm_start.hash_source)
    for field, folder in sources.towers(config, dataset.modalities).items():
      reads[field] = self._hash(folder, sources.hash_weights)
    return reads

  def _hash(self, folder: str, find: Callable[[str], str]) -> str:
    if folder not in self._hashes:
      self._hashes[folder] = find(folder)
    return self._hashes[folder]

  def _load(self, config) -> data.Dataset:
    content = json.loads(config.to_json_best_effort())
    read = {k: v for k, v in content.items() if k not in _NOT_READ}
    if content["data"].get("tokenizer") == "":  # texts are read by that of the tower's weights
      modalities = content["model"]["modalities"]
      read["towers"] = {m: own["encoder"].get("weights") for m, own in modalities.items()}
    key = json.dumps(read, sort_keys=True)
    if key not in self._datasets:
      while len(self._datasets) >= _MOST:
        self._datasets.popitem(last=False)
      self._datasets[key] = data.load(config)
    self._datasets.move_to_end(key)
    return self._datasets[key]
