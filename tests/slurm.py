"""A Slurm of one node on 127.0.0.1, for tests marked slow; it needs root, and Slurm's programs.

They are on PATH (`apt-get install slurm-wlm`), or below the folder SYNJAX_SLURM, without being installed:

  apt-get download slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge libmunge2 libhwloc15
  for package in *.deb; do dpkg -x $package root; done; export SYNJAX_SLURM=$PWD/root
"""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time

import pytest

_CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/none
CredType=cred/none
{plugins}
SlurmUser=root
SlurmdUser=root
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/builtin
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=20000
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _find(root, *names):
  """Returns a program by one of its names; skips the test where there is none."""
  path = os.pathsep.join(
    [f"{root}/usr/bin", f"{root}/usr/sbin", os.environ["PATH"], "/usr/sbin", "/sbin"]
  )
  found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
  if found is None or os.getuid():
    pytest.skip("needs root and Slurm, see tests/slurm.py")
  return found


@contextlib.contextmanager
def cluster(folder, cores):
  """Starts a cluster whose files are in a folder; yields the variables of who submits to it."""
  root = os.environ.get("SYNJAX_SLURM", "")
  controller, node = _find(root, "slurmctld", "slurmctld-wlm"), _find(root, "slurmd", "slurmd-wlm")
  step, submit = _find(root, "slurmstepd", "slurmstepd-wlm"), _find(root, "sbatch")
  for name in ("state", "spool"):
    (folder / name).mkdir()
  variables, plugins = {"SLURM_CONF": str(folder / "slurm.conf")}, ""
  if root:
    (place,) = pathlib.Path(root).glob("usr/lib/*/slurm-wlm")
    variables["LD_LIBRARY_PATH"], plugins = f"{place.parent}:{place}", f"PluginDir={place}"
  host = socket.gethostname().partition(".")[0]
  text = _CONFIG.format(folder=folder, host=host, plugins=plugins, cores=cores)
  (folder / "slurm.conf").write_text(text)
  environment = {**os.environ, **variables}
  started = []
  try:
    for command in ([controller, "-D"], [node, "-D", "-d", step]):
      with open(folder / f"{pathlib.Path(command[0]).name}.said", "w") as said:
        started.append(subprocess.Popen(command, env=environment, stdout=said, stderr=said))
    programs = os.path.dirname(submit)
    for _ in range(60):
      seen = subprocess.run(
        [f"{programs}/sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True
      )
      if seen.stdout.strip() == "idle":
        break
      time.sleep(0.5)
    else:
      raise AssertionError(f"no node: {seen.stdout} {seen.stderr}")
    yield {**variables, "PATH": f"{programs}:/usr/bin:/bin"}
  finally:
    for process in started[::-1]:
      process.terminate()
      process.wait()
