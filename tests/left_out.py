"""What the default run, and so CI, leaves out although nothing beside the test says so.

Each takes seconds to compile, and what it shows is shown by another of its cases or by another file; in
brackets how a test's cases begin. `pytest -m slow` runs them.
"""

SLOW = (
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[comm",
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[infmasking",
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[supervised-modalities5",
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[supervised-modalities6",
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[synib",
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[unimodal",
  "config/ignored_fields_test.py::test_a_method_field_is_refused_or_changes_the_loss[masked_augmentation-case20",
  "config/ignored_fields_test.py::test_a_method_field_is_refused_or_changes_the_loss[synib-case15",
  "config/ignored_fields_test.py::test_a_method_field_is_refused_or_changes_the_loss[synib-case16",
  "config/ignored_fields_test.py::test_a_method_field_is_refused_or_changes_the_loss[synib-case17",
  "config/ignored_fields_test.py::test_a_method_field_is_refused_or_changes_the_loss[synib-case18",
  "config/ignored_fields_test.py::test_stopping_the_gradient_of_no_loss_changes_no_gradient",
  "configs_irony_test.py::test_a_tiny_table_has_the_f1_of_irony_of_every_row",
  "configs_test.py::test_shrunken_multibench_configs_take_a_step[mimic-synib-clean]",
  "configs_test.py::test_shrunken_multibench_configs_take_a_step[vision_touch-comm,ee-clean]",
  "data/array_runs_test.py::test_a_classifier_is_scored_beside_the_baselines_of_what_it_learned[ensemble",
  "data/array_runs_test.py::test_a_classifier_is_scored_beside_the_baselines_of_what_it_learned[supervised",
  "data/array_runs_test.py::test_several_labels_an_example_are_learned_probed_and_predicted[comm",
  "data/cremad_test.py::test_ironic_clips_are_learned_and_scored",
  "data/irony_test.py::test_draws_are_of_the_seed_and_each_makes_other_data",
  "data/picture_texts_test.py::test_a_run_embeds_raw_pictures_and_texts_as_it_did_and_outlives_its_towers_folder[hateful_memes",
  "evaluators/embeddings_test.py::test_a_classifier_on_stored_data_keeps_its_own_and_is_scored_without_a_modality",
  "evaluators/embeddings_test.py::test_masks_are_each_seeds_own_and_a_method_without_writes_none",
  "evaluators/gaussianity_test.py::test_gaussianity_of_a_run_is_logged_and_resumes",
  "examples_test.py::test_a_notebook_runs_from_top_to_bottom[own_data]",
  "launch/benchmark/sections_test.py::test_a_step_through_towers_holds_parameters_and_two_moments_of_each",
  "launch/benchmark/sections_test.py::test_critics_and_visible_tokens_cost_what_they_promise",
  "launch/benchmark/sections_test.py::test_parts_of_a_step_follow_the_model",
  "launch/benchmark/sections_test.py::test_synib_against_vanilla_is_counted",
  "launch/commands_test.py::test_bad_input_gives_one_clear_message[wrong1",
  "launch/commands_test.py::test_bad_input_gives_one_clear_message[wrong2",
  "launch/commands_test.py::test_the_synergy_subset_is_scored_with_unimodal_models_trained_once",
  "library/importing_test.py::test_a_checkpoint_of_another_model_is_refused_and_claims_no_workdir[infmasking-fields0",
  "methods/balancing/exclusive_or_test.py::test_it_is_learnt_with_a_trunk[mmpareto",
  "methods/balancing/exclusive_or_test.py::test_it_is_learnt_with_a_trunk[ogm_ge",
  "methods/balancing/exclusive_or_test.py::test_it_is_learnt_with_a_trunk[synib",
  "methods/classifier_method_test.py::test_what_filler_holds_changes_no_loss_gradient_metric_or_statistic[masked",
  "methods/classifier_method_test.py::test_what_filler_holds_changes_no_loss_gradient_metric_or_statistic[synib-fields4",
  "methods/classifier_method_test.py::test_what_filler_holds_changes_no_loss_gradient_metric_or_statistic[synib-fields5",
  "methods/contrastive/factorcl_test.py::test_terms_are_bounds_of_pairs_one_by_one[False",
  "methods/reconstruction/mae_test.py::test_the_loss_is_of_hidden_tokens_from_visible_ones_alone[False",
  "methods/separate_method_test.py::test_images_padded_sequences_and_own_arrays_train",
  "models/padded_test.py::test_padding_and_absence_change_nothing_and_have_finite_gradients[pooled",
  "readme_test.py::test_your_own_data",
  "sweeps/costs_test.py::test_a_sweep_over_k_trains_and_journals_time_and_memory",
  "sweeps/training_test.py::test_at_strength_1_vanilla_falls_for_the_shortcut_and_the_oracle_does_not",
  "train_test.py::test_a_run_interrupted_anywhere_ends_in_the_same_parameters[7]",
  "train_test.py::test_a_single_training_label_is_warned_of",
  "training/frozen_params_test.py::test_another_run_starts_from_trained_and_frozen_parts",
  "training/frozen_params_test.py::test_stacked_trials_share_what_is_the_same_for_all_of_them",
  "training/frozen_params_test.py::test_trials_of_several_seeds_have_their_own_random_parameters",
  "training/stacked_trials_test.py::test_a_trial_alone_and_among_others_is_the_same[arrays-fields1",
  "training/stream_training_test.py::test_a_streamed_run_killed_with_sigkill_ends_as_one_that_was_not",
  "training/stream_training_test.py::test_padding_that_is_not_marked_is_read_like_data",
  "training/warm_start_test.py::test_a_perceptron_that_another_run_trained_is_not_dropped_in_silence",
  "training/warm_start_test.py::test_a_single_encoder_of_three_is_too_little_and_one_of_two_is_not",
  "training/warm_start_test.py::test_other_shapes_are_refused_with_both[fields1",
  "training/warm_start_test.py::test_the_strength_of_generated_data_must_match_too",
  "training/warm_start_test.py::test_unimodal_heads_of_another_task_stay_behind",
)


def is_slow(nodeid: str) -> bool:
  """Says whether a test, such as tests/a_test.py::test_b[case], is one of them."""
  name = nodeid.removeprefix("tests/")
  return name in SLOW or any(name.startswith(one) for one in SLOW if "[" in one)
