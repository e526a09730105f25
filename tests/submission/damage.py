"""Ways to spoil a tree, with the check that must find each."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.submission.trees import Tree, edit, edit_json, log_error, log_value


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One way to spoil a tree."""

    what: str
    check: str
    """Name of our check that must find it."""
    act: Callable[[Tree], None]


def _perf(key: str, value: object, scenario: str = "Server") -> Callable[[Tree], None]:
    return lambda t: log_value(t.result(scenario).performance.detail_log, key, value)


def _system(**fields: object) -> Callable[[Tree], None]:
    return lambda t: edit_json(t.system, lambda system: system.update(fields))


def _short_run(tree: Tree) -> None:
    log = tree.result("Server").performance.detail_log
    values = {
        json.loads(line[9:])["key"]: json.loads(line[9:])["value"]
        for line in log.read_text().splitlines()
    }
    log_value(log, "power_end", values["power_begin"])


def _invalid(tree: Tree) -> None:
    log_value(
        tree.result("Server").performance.detail_log, "result_validity", "INVALID"
    )


def _error(mode: str) -> Callable[[Tree], None]:
    def act(tree: Tree) -> None:
        result = tree.result("Server")
        run = result.performance if mode == "performance" else result.accuracy
        log_error(run.detail_log, "Attempted to complete a sample twice.")

    return act


def _engine(lines: str) -> Callable[[Tree], None]:
    def act(tree: Tree) -> None:
        result = tree.result("Server")
        for run in (result.performance, result.accuracy, result.compliance):
            engine = f"engine:\n  name: vllm\n  warmup_requests: 8\n{lines}"
            text = re.sub(r"engine:\n(  .*\n)+", engine, run.config.read_text())
            run.config.write_text(text)

    return act


def _cached_prefixes(tree: Tree) -> None:
    path = tree.result("Server").performance.replicas
    edit_json(path, lambda r: r[0]["engine"].update(enable_prefix_caching=True))


def _degrade(tree: Tree) -> None:
    event = {"t_ns": 1, "kind": "death", "replica": 0, "cause": "killed"}
    with tree.result("Server").performance.events.open("a") as file:
        file.write(json.dumps(event) + "\n")


def _answers(tree: Tree) -> Path:
    return tree.result("Server").compliance_answers


def _two_stops(tree: Tree) -> None:
    settings = tree.result("Server").compliance.settings
    stop = json.loads(settings.read_text())["stop_token_ids"][0]
    word = stop.to_bytes(4, "little").hex().upper()
    text = _answers(tree).read_text()
    damaged = re.sub(
        r'("data" : "[0-9A-F]*)[0-9A-F]{16}"', rf'\g<1>{word}{word}"', text, count=1
    )
    assert damaged != text
    _answers(tree).write_text(damaged)


def _other_first_token(tree: Tree) -> None:
    text = _answers(tree).read_text()
    damaged = re.sub(r'("token_data" : ")[0-9A-F]{8}', r"\g<1>0A000000", text, count=1)
    assert damaged != text
    _answers(tree).write_text(damaged)


def _fewer_answers(tree: Tree) -> None:
    lines = _answers(tree).read_text().splitlines()
    del lines[2:52]
    _answers(tree).write_text("\n".join(lines) + "\n")


def _long_log(tree: Tree) -> None:
    log = tree.result("Server").accuracy.accuracy_log
    log.write_text(log.read_text() * 2)


def _swap_scenarios(tree: Tree) -> None:
    target = tree.result("Server").performance.path
    shutil.rmtree(target)
    shutil.copytree(tree.result("Offline").performance.path, target)


def _other_code(tree: Tree) -> None:
    path = tree.result("Server").accuracy / "source.json"
    edit_json(
        path, lambda files: files.update({"sut/coordinator/dispatcher.py": "0" * 64})
    )


def _other_package(tree: Tree) -> None:
    path = tree.result("Server").accuracy.replicas
    edit_json(path, lambda replicas: replicas[0]["versions"].update(numpy="1.0"))


def _smoke(tree: Tree) -> None:
    path = tree.result("Server").accuracy.settings
    edit_json(path, lambda settings: settings.update(kind="smoke"))


def _remove(*names: str) -> Callable[[Tree], None]:
    def act(tree: Tree) -> None:
        path = tree.result("Server").path.joinpath(*names)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return act


def _numpy_gen_len(tree: Tree) -> None:
    path = tree.result("Server").scores
    text = path.read_text()
    path.write_text(re.sub(r"'gen_len': (\d+)", r"'gen_len': np.int64(\1)", text))


def _low_score(tree: Tree) -> None:
    path = tree.result("Server").scores
    path.write_text(re.sub(r"'rouge1': [\d.]+", "'rouge1': 30.1", path.read_text()))


def _no_hash(tree: Tree) -> None:
    path = tree.result("Server").scores
    path.write_text(path.read_text().partition("\nhash=")[0])


def _large_file(tree: Tree) -> None:
    with (tree.home.source / "weights.bin").open("wb") as file:
        file.truncate(60 << 20)


def _measurement(name: str, value: str) -> Callable[[Tree], None]:
    return lambda t: edit_json(
        t.result("Server").measurements, lambda message: message.update({name: value})
    )


DAMAGES = (
    Damage(what="Server's performance run is INVALID", check="validity", act=_invalid),
    Damage(
        what="LoadGen logged an error in the performance run",
        check="loadgen_errors",
        act=_error("performance"),
    ),
    Damage(
        what="LoadGen logged an error in the accuracy run",
        check="loadgen_errors",
        act=_error("accuracy"),
    ),
    Damage(
        what="the performance run ended before 600 s",
        check="duration",
        act=_short_run,
    ),
    Damage(
        what="seeds of the round before",
        check="seeds",
        act=_perf("effective_schedule_rng_seed", 3936089224930324775),
    ),
    Damage(
        what="min_duration of 120 s, as in the reference's user.conf",
        check="min_duration",
        act=_perf("effective_min_duration_ms", 120_000),
    ),
    Damage(
        what="equal issue off",
        check="sample_concatenate_permutation",
        act=_perf("effective_sample_concatenate_permutation", False),
    ),
    Damage(
        what="token latencies off",
        check="use_token_latencies",
        act=_perf("requested_use_token_latencies", False),
    ),
    Damage(
        what="a QSL of 1,000 samples",
        check="performance_sample_count_override",
        act=_perf("effective_performance_sample_count", 1000),
    ),
    Damage(
        what="max_query_count set",
        check="max_query_count",
        act=_perf("effective_max_query_count", 13_368),
    ),
    Damage(
        what="half a pass over the data",
        check="counts",
        act=_perf("result_query_count", 6684),
    ),
    Damage(
        what="Server: TTFT's p99 at 2.1 s",
        check="latency",
        act=_perf("result_first_token_99.00_percentile_latency_ns", 2_100_000_000),
    ),
    Damage(
        what="Interactive: TPOT's p99 at 60 ms, good for Server alone",
        check="latency",
        act=_perf(
            "result_time_per_output_token_99.00_percentile_ns",
            60_000_000,
            "Interactive",
        ),
    ),
    Damage(
        what="Interactive: run under Server's limits",
        check="tpot_latency",
        act=_perf("requested_server_tpot_latency", 100_000_000, "Interactive"),
    ),
    Damage(
        what="Offline's log in Server's folder", check="scenario", act=_swap_scenarios
    ),
    Damage(
        what="an accuracy log in the performance run's place",
        check="scenario",
        act=_perf("effective_test_mode", "AccuracyOnly"),
    ),
    Damage(
        what="prefix caching on",
        check="prefix_caching",
        act=_engine("  options:\n    enable_prefix_caching: true\n"),
    ),
    Damage(
        what="adaptive batching that measured its model in each run",
        check="step_model",
        act=_engine("  adaptive_batching: true\n"),
    ),
    Damage(
        what="prefix caching on in one replica",
        check="prefix_caching",
        act=_cached_prefixes,
    ),
    Damage(what="a replica died in the run", check="degraded", act=_degrade),
    Damage(what="the accuracy run was a smoke run", check="full_run", act=_smoke),
    Damage(
        what="accuracy run with another configuration",
        check="one_config",
        act=lambda t: edit(
            t.result("Server").accuracy.config, "max_num_seqs: 1024", "max_num_seqs: 8"
        ),
    ),
    Damage(
        what="accuracy run with another user.conf",
        check="one_user_conf",
        act=lambda t: edit(t.result("Server").accuracy.user_conf, "= 22", "= 11"),
    ),
    Damage(what="accuracy run by other code", check="one_code", act=_other_code),
    Damage(
        what="accuracy run with another package version",
        check="one_version",
        act=_other_package,
    ),
    Damage(
        what="accuracy run with another LoadGen",
        check="one_loadgen",
        act=lambda t: log_value(
            t.result("Server").accuracy.detail_log, "loadgen_version", "5.1.0"
        ),
    ),
    Damage(
        what="the result's user.conf is not the runs'",
        check="user_conf",
        act=lambda t: edit(t.result("Server").user_conf, "= 22", "= 30"),
    ),
    Damage(
        what="src/ is not the code that ran",
        check="source",
        act=lambda t: edit(t.home.source / "sut" / "main.py", "import", "import "),
    ),
    Damage(
        what="accuracy of 1,000 samples",
        check="accuracy_count",
        act=lambda t: log_value(
            t.result("Server").accuracy.detail_log,
            "effective_accuracy_sample_count",
            1000,
        ),
    ),
    Damage(what="ROUGE-1 below its target", check="accuracy_target", act=_low_score),
    Damage(what="gen_len as NumPy 2 prints it", check="scores", act=_numpy_gen_len),
    Damage(what="accuracy log not truncated", check="truncated", act=_long_log),
    Damage(what="no hash in accuracy.txt", check="hash", act=_no_hash),
    Damage(
        what="no accuracy.txt", check="scores", act=_remove("accuracy", "accuracy.txt")
    ),
    Damage(what="no TEST06", check="readable", act=_remove("TEST06")),
    Damage(what="TEST06: two stop tokens", check="test06_tokens", act=_two_stops),
    Damage(
        what="TEST06: another first token than reported",
        check="test06_tokens",
        act=_other_first_token,
    ),
    Damage(what="TEST06 of 50 samples", check="test06_count", act=_fewer_answers),
    Damage(
        what="TEST06 says that a check failed",
        check="test06_verification",
        act=lambda t: edit(
            t.result("Server").verification,
            "length check pass: True",
            "length check pass: False",
        ),
    ),
    Damage(
        what="TEST06 with another audit file",
        check="audit_settings",
        act=lambda t: edit(
            t.result("Server").compliance.audit_conf,
            "accuracy_log_sampling_target = 100",
            "accuracy_log_sampling_target = 10",
        ),
    ),
    Damage(
        what="a field of the system's description is missing",
        check="system_fields",
        act=lambda t: edit_json(t.system, lambda system: system.pop("cooling")),
    ),
    Damage(
        what="a field of the system's description says nothing",
        check="system_fields",
        act=_system(host_networking_topology=""),
    ),
    Damage(
        what="division and folder differ",
        check="system_names",
        act=_system(division="open"),
    ),
    Damage(
        what="an edge system in a datacenter benchmark",
        check="system_type",
        act=_system(system_type="edge"),
    ),
    Damage(
        what="status that does not exist",
        check="system_status",
        act=_system(status="ga"),
    ),
    Damage(what="ECC off", check="ecc", act=_system(accelerator_ecc="disabled")),
    Damage(
        what="two nodes described, one used",
        check="devices",
        act=_system(number_of_nodes=2),
    ),
    Damage(
        what="no system description",
        check="readable",
        act=lambda t: t.system.unlink(),
    ),
    Damage(
        what="measurements.json with an empty field",
        check="measurements",
        act=_measurement("retraining", ""),
    ),
    Damage(
        what="weight type that the run did not use",
        check="weight_types",
        act=_measurement("weight_data_types", "fp4"),
    ),
    Damage(
        what="empty README",
        check="documents",
        act=lambda t: void(t.result("Server").readme.write_text("")),
    ),
    Damage(
        what="no statement on calibration",
        check="documents",
        act=lambda t: t.home.calibration.unlink(),
    ),
    Damage(
        what="Offline is missing",
        check="scenarios",
        act=lambda t: shutil.rmtree(t.result("Offline").path),
    ),
    Damage(
        what="no performance log",
        check="readable",
        act=_remove("performance", "run_1", "mlperf_log_detail.txt"),
    ),
    Damage(what="a file of 60 MiB", check="files", act=_large_file),
)


def void(_value: object) -> None:
    """Return None, whatever was handed in."""
