"""The examples of docs/cluster.md: valid shell and YAML, whose commands our own parsers and torchrun's take."""

import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from torch.distributed.run import get_args_parser

from tests.test_docs import blocks
from wherewhen import buckets, prepare, subcommands
from wherewhen.engines import options
from wherewhen.predict import verb

PAGE = "cluster.md"
SCRIPTS = [*blocks(PAGE, "bash"), *blocks(PAGE, "shell")]
MANIFESTS = [one for text in blocks(PAGE, "yaml") for one in yaml.safe_load_all(text)]
STARTERS = ("wherewhen", "torchrun", "srun", "exec")


def containers(value: Any) -> Iterator[dict[str, Any]]:
    """All that a manifest runs."""
    if isinstance(value, dict):
        yield from value.get("containers", [])
        for inner in value.values():
            yield from containers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from containers(inner)


def commands() -> list[list[str]]:
    """Words of all commands that start something of ours."""
    lines = [line for text in SCRIPTS for line in text.replace("\\\n", " ").splitlines()]
    lines += [one["spec"]["entrypoint"] for one in MANIFESTS if one["kind"] == "RayJob"]
    lines += [text for one in MANIFESTS for container in containers(one) for text in container.get("args", [])]
    found = [shlex.split(line.replace('"$SLURM_NNODES"', "4"), comments=True) for line in lines]
    return [words for words in found if words and words[0] in STARTERS]


def ours(words: list[str]) -> list[str]:
    return words[words.index("wherewhen") + 1 :]


def test_scripts_are_valid_shell() -> None:
    assert len(blocks(PAGE, "bash")) == 2
    for text in SCRIPTS:
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    for text in blocks(PAGE, "bash"):
        head, *_ = text.split("set -euo pipefail")
        assert all(
            line.startswith("#") for line in head.splitlines()
        )  # SLURM reads its options up to the first command


def test_manifests_name_what_they_need() -> None:
    assert [one["kind"] for one in MANIFESTS] == ["RayJob", "Service", "Job"]
    for one in MANIFESTS:
        for container in containers(one):
            assert container["image"]
            assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
    job, service = MANIFESTS[2], MANIFESTS[1]
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_our_commands_are_accepted(words: list[str]) -> None:
    name, *rest = ours(words)
    if name == "predict":
        assert verb.parser().parse_args(rest).engine == "ray"
    elif name == "prepare":
        args = subcommands.parse(
            rest, "prepare", "", "DATASET", "wherewhen.ingest", prepare.DATASETS, common=options.add_arguments
        )
        assert args.engine == "ray"
    elif name == "copy":
        assert [buckets.is_bucket(word) for word in rest] in ([True, False], [False, True])
    else:
        assert name in ("fit", "pretrain")
        told = dict(zip(rest[::2], rest[1::2], strict=True))
        if "torchrun" not in words:
            assert buckets.is_bucket(told["--mirror"])
            return
        launched = words[words.index("torchrun") + 1 :]
        args = get_args_parser().parse_args(launched)
        assert [args.training_script, *args.training_script_args][-len(rest) - 2 :] == ["wherewhen", name, *rest]
        assert told["--trainer.devices"] == args.nproc_per_node
        assert told.get("--trainer.num_nodes", "1") == args.nnodes.partition(":")[0]


def test_all_commands_were_looked_at() -> None:
    verbs = Counter(ours(words)[0] for words in commands())
    assert (verbs["fit"], verbs["predict"], verbs["prepare"]) == (4, 3, 1)
