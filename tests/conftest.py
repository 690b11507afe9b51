"""What holds for all tests: processes that run beside each other take one thread each, and some tests are slow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: two pools of threads on the same cores wait for each other more than they compute.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

TESTS = Path(__file__).parent

SLOW = {
    "app/budget/test_budget_panel",
    "app/cli/test_cli_budget",
    "app/cli/test_cli_check",
    "app/cli/test_cli_dense",
    "app/cli/test_cli_latency",
    "app/cli/test_cli_looking",
    "app/cli/test_cli_refusals",
    "app/cli/test_cli_screenshot",
    "app/cli/test_cli_track_record",
    "app/cli/test_cli_whole_way",
    "app/compare/test_compare_panel",
    "app/engine/test_engine_thread",
    "app/layers/test_layer_model",
    "app/plots/test_every_plot",
    "app/plots/test_heat_map_plot",
    "app/preflight/test_preflight",
    "app/sensitivity/test_sensitivity_panel",
    "app/shell/test_for_a_runtime",
    "app/shell/test_main_window",
    "app/shell/test_room_for_the_picture",
    "app/shell/test_screenshot",
    "app/shell/test_small_parts",
    "app/shell/test_three_ways",
    "app/shell/test_truth_on_screen",
    "app/shell/test_without_display",
    "app/weights/test_histogram_panel",
    "core/activations/test_observers",
    "core/allocate/test_solve",
    "core/analysis/test_analysis_source",
    "core/analysis/test_channels",
    "core/analysis/test_histogram",
    "core/analysis/test_statistics",
    "core/blockwise/test_blockwise_killed",
    "core/blockwise/test_blockwise_run",
    "core/blockwise/test_blockwise_transforms",
    "core/blockwise/test_experts_compressed",
    "core/checkpoint/test_gguf_mutated",
    "core/checkpoint/test_safetensors_header",
    "core/checkpoint/test_training_files",
    "core/estimate/test_job_forecast",
    "core/evaluate/test_blocks",
    "core/evaluate/test_evaluate",
    "core/export/test_changed_layers",
    "core/export/test_decoded_by_compressed_tensors",
    "core/export/test_every_scheme_dense",
    "core/export/test_every_target",
    "core/export/test_export",
    "core/export/test_floating_export",
    "core/export/test_gguf_export",
    "core/export/test_gptq_awq_export",
    "core/export/test_loaded_by_transformers",
    "core/export/test_loader_trial",
    "core/export/test_onnx_export",
    "core/export/test_quantised_inputs_export",
    "core/job/test_job",
    "core/job/test_job_disk",
    "core/job/test_job_killed",
    "core/job/test_job_memory",
    "core/job/test_sparse_job",
    "core/kernels/test_triton",
    "core/preflight/test_check",
    "core/preflight/test_run_reports_what_was_checked",
    "core/recipe/test_recipe_parsing",
    "core/report/test_report",
    "core/runtime/test_quantised_inputs",
    "core/runtime/test_running",
    "core/schemes/test_clip_search",
    "core/schemes/test_codebook",
    "core/schemes/test_gguf",
    "core/schemes/test_integer_arithmetic",
    "core/schemes/test_integer_blocks",
    "core/schemes/test_scaled_laws",
    "core/schemes/test_sparse_arithmetic",
    "core/schemes/test_vector_codebook",
    "core/sensitivity/test_measure",
    "core/solvers/test_cancelled",
    "core/solvers/test_error_feedback",
    "core/solvers/test_learned_rounding",
    "core/solvers/test_nested_scales",
    "core/surgery/test_drop_blocks",
    "core/test_engine",
    "core/test_engine_process",
    "core/test_measurements_kept",
    "core/transforms/test_block_transforms",
    "core/transforms/test_coupling",
    "core/transforms/test_network_transforms",
    "core/transforms/test_planted_outliers",
    "core/tuning/test_polish",
    "core/tuning/test_tuning_killed",
    "core/weights/test_open_weights",
    "core/weights/test_packed_folder",
    "core/workspace/test_forecasts",
    "end_to_end/test_contributing",
    "end_to_end/test_window",
    "quality/test_docstrings",
    "quality/test_static",
    "quality/test_vocabulary",
    "test_public_interface",
}
"""Files that take more than three seconds, by their paths without suffix: `make quick` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(TESTS).with_suffix("").as_posix() in SLOW:
            item.add_marker(pytest.mark.slow)
