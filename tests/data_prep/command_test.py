import pathlib
import signal
import subprocess
import sys
import time

import pytest

from data_prep import command, convert
from synjax.workdir import stopping


@pytest.mark.parametrize("status", [0, 1])
def test_the_status_is_that_of_the_command(status, handlers):
  with pytest.raises(SystemExit) as ended:
    command.run(lambda: status)
  assert ended.value.code == status


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_signal_ends_a_command_in_one_line_after_its_partial_files_are_gone(
  tmp_path, number, capfd, handlers
):
  def main():
    partial = tmp_path / "partial"
    try:
      partial.touch()
      signal.raise_signal(number)
      time.sleep(60)
    finally:
      partial.unlink()

  with pytest.raises(SystemExit) as ended:
    command.run(main)
  assert ended.value.code == 128 + number
  assert capfd.readouterr().err == "stopped; the same command starts afresh\n"
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["convert", "fixtures", "inspect"])
def test_a_signal_while_a_command_is_imported_ends_it_in_one_line(module, tmp_path):
  """Imports of what takes long are stood in for by one that says when it has begun."""
  (tmp_path / "numpy.py").write_text("import time; print('importing', flush=True); time.sleep(60)")
  code = f"import runpy, sys; sys.argv[0] = '-m'; sys.path.insert(0, {str(tmp_path)!r})\n"
  code += "import data_prep\n"
  code += f"runpy.run_module('data_prep.{module}', run_name='__main__')"
  process = subprocess.Popen(
    [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  )
  assert process.stdout.readline() == "importing\n"
  process.send_signal(signal.SIGINT)
  _, said = process.communicate(timeout=60)
  assert (process.returncode, said) == (130, "stopped before anything was begun\n")


def test_every_command_of_the_package_ends_on_ctrl_c_in_one_line():
  """The commands are the modules that have a `main`; what they end with is `command.run`."""
  folder = pathlib.Path(convert.__file__).parent
  texts = [p.read_text() for p in folder.rglob("*.py")]
  mains = [text for text in texts if 'if __name__ == "__main__":' in text]
  assert len(mains) == 4
  assert all(text.endswith("  command.run(main)\n") for text in mains)
