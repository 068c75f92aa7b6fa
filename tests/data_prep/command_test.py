import pathlib

import pytest

from data_prep import command, convert


@pytest.mark.parametrize("status", [0, 1])
def test_the_status_is_that_of_the_command(status):
  with pytest.raises(SystemExit) as ended:
    command.run(lambda: status)
  assert ended.value.code == status


def test_every_command_of_the_package_ends_on_ctrl_c_in_one_line():
  """The commands are the modules that have a `main`; what they end with is `command.run`."""
  folder = pathlib.Path(convert.__file__).parent
  texts = [p.read_text() for p in folder.rglob("*.py")]
  mains = [text for text in texts if 'if __name__ == "__main__":' in text]
  assert len(mains) == 3
  assert all(text.endswith("  command.run(main)\n") for text in mains)
