//! The product from outside, in both shapes: one list of test bodies, each run as `embedded::…` and `distributed::…`.
//!
//! Most bodies share a stack with others and live in an organization of their own; those that stop or break something
//! start their own. All run on one runtime in one process, so run this binary with `cargo test`, not under nextest.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a failed expectation fails the test"
)]

mod accounts;
mod backup;
mod bad_calls;
mod bad_keys;
mod bad_messages;
mod chaos;
mod commands;
mod connect_links;
mod console;
mod custody;
mod dead_letters;
mod doctor;
mod footprint;
mod grpc;
mod handles;
mod isolation;
mod lifecycle;
mod limits;
mod management;
mod oauth;
mod refresh_faults;
mod repeats;
mod rmcp_client;
mod sandbox;
mod screen;
mod secrets;
mod shared;
mod sizes;
mod telemetry;
mod tls;
mod transports;
mod vendor_errors;

/// Registers each body once for each shape.
macro_rules! suite {
    ($($stack:ident { $($module:ident :: $body:ident,)* })*) => {
        mod embedded {
            $($(
                #[test]
                fn $body() {
                    crate::shared::$stack(plugboard_tests::stack::Shape::Embedded, crate::$module::$body);
                }
            )*)*
        }
        mod distributed {
            $($(
                #[test]
                fn $body() {
                    crate::shared::$stack(plugboard_tests::stack::Shape::Distributed, crate::$module::$body);
                }
            )*)*
        }
    };
}

suite! {
    // Shared: every call is answered by the built-in vendor.
    in_sandbox {
        sandbox::a_call_over_every_era,
        sandbox::a_missing_argument_is_named_and_nothing_is_sent,
        sandbox::the_three_tools_in_their_order,
        sandbox::the_list_of_services_is_small_and_can_be_filtered,
        sandbox::services_and_modules_describe_themselves,
        sandbox::a_fresh_key_makes_every_test_call_and_first_recipe,
        sandbox::every_operation_answers_with_its_example,
        rmcp_client::the_official_rust_client_lists_and_calls,
        commands::a_call_from_a_shell,
        commands::keys_manifests_and_the_doctor,
        doctor::a_deployment_that_is_well,
    }
    // Shared: every call goes to a vendor of the test.
    with_vendor {
        transports::every_operation_reaches_its_vendor_as_the_manifest_says,
        transports::a_token_is_fetched_once_and_renewed_after_a_refusal,
        accounts::an_account_is_chosen_by_label_or_id,
        accounts::without_an_account_nothing_is_sent,
        accounts::a_changed_account_is_used_at_once_and_a_removed_one_never_again,
        accounts::an_end_user_sees_own_and_shared_accounts,
        isolation::two_organizations_do_not_meet,
        bad_calls::what_does_not_fit_the_manifest_is_never_sent,
        bad_calls::what_any_manifest_excludes_is_never_sent,
        bad_calls::a_path_cannot_climb_out,
        bad_calls::headers_cannot_be_smuggled,
        bad_calls::what_is_not_served_yet_is_refused,
        bad_keys::without_a_good_key_nothing_happens,
        bad_keys::a_revoked_key_is_refused_within_a_second,
        bad_keys::a_scope_that_is_missing_is_named,
        bad_keys::some_services_are_for_admins,
        bad_messages::what_is_not_json_rpc_is_refused,
        bad_messages::large_deep_and_ambiguous_bodies_are_refused,
        vendor_errors::refusals_keep_their_words,
        vendor_errors::failures_say_what_may_have_happened,
        vendor_errors::a_rate_limit_says_when_to_come_back,
        vendor_errors::errors_inside_of_a_200_are_errors,
        vendor_errors::a_call_ends_at_its_deadline,
        vendor_errors::a_cut_connection_repeats_a_read_and_never_a_write,
        vendor_errors::an_answer_that_breaks_off_is_not_a_success,
        sizes::answers_arrive_whole_or_by_handle,
        sizes::a_request_near_the_limit_arrives_whole,
        handles::a_background_call_is_found_by_its_id,
        handles::patience_ends_before_the_call_does,
        handles::a_caller_that_leaves_does_not_stop_a_started_call,
        repeats::a_key_makes_one_call_of_many,
        repeats::a_key_whose_call_sent_nothing_is_free_again,
        repeats::an_answer_that_was_lost_is_told_to_whoever_comes_back,
        secrets::a_vendor_that_echoes_gives_nothing_away,
        secrets::secrets_are_in_nothing_that_is_written,
        grpc::the_same_calls_over_grpc,
        grpc::grpc_wants_its_own_scope,
        grpc::health_and_reflection,
        console::calls_are_shown_to_whom_they_concern,
        console::the_console_in_a_real_browser,
        management::execution_is_no_rest_resource,
        management::the_public_documents,
        management::keys_are_issued_listed_and_revoked,
        management::connections_show_no_secret,
        custody::a_rotation_fails_no_call,
        custody::the_log_tells_who_did_what,
        custody::what_is_revoked_is_unusable_at_once,
        custody::an_agent_keeps_to_its_limits,
    }
    // Shared: every service is an authorization server of the test.
    with_providers {
        oauth::a_person_signs_in_and_the_account_is_claimed,
        oauth::hostile_answers_connect_nothing,
        oauth::a_code_on_another_device_connects,
        oauth::many_calls_on_an_expired_token_refresh_once,
        oauth::a_connect_link_is_for_one_user_and_some_services,
        connect_links::a_call_without_an_account_has_a_link,
        connect_links::a_client_that_opens_links_is_asked_and_its_call_goes_through,
        screen::a_person_connects_in_a_real_browser,
        screen::a_link_is_for_one_browser_and_its_services,
        screen::attacks_end_on_a_clear_page,
        screen::every_page_can_be_used_by_everybody,
    }
    // A stack for one test, which may break it.
    alone {
        backup::a_backup_brings_everything_back,
        limits::the_vendors_limits_are_kept,
        telemetry::metrics_tell_of_calls_and_of_no_tenant,
        telemetry::one_trace_from_the_client_to_the_vendor,
        telemetry::what_failed_is_kept_and_has_one_line,
        repeats::a_call_that_only_its_key_knows_of_is_made,
        lifecycle::a_restart_finds_keys_and_accounts,
        lifecycle::sigterm_drains_and_exits_with_zero,
        lifecycle::a_second_start_on_the_same_data_fails_clearly,
        vendor_errors::a_vendor_that_is_not_there_was_sent_nothing,
    }
}

/// What only one shape can show.
mod embedded_only {
    #[test]
    fn a_background_call_survives_kill_9() {
        crate::shared::block_on(crate::lifecycle::a_background_call_survives_kill_9());
    }

    #[test]
    fn what_never_ends_is_put_aside_and_can_be_made_again() {
        crate::shared::block_on(crate::dead_letters::what_never_ends_is_put_aside_and_can_be_made_again());
    }

    #[test]
    fn small_and_quick() {
        crate::shared::block_on(crate::footprint::small_and_quick());
    }

    #[test]
    fn a_doctor_looks_at_the_data_of_up() {
        crate::shared::alone(plugboard_tests::stack::Shape::Embedded, crate::doctor::the_data_of_up);
    }

    #[test]
    fn secrets_are_in_no_trace() {
        crate::shared::block_on(crate::secrets::secrets_are_in_no_trace());
    }
}

mod distributed_only {
    #[test]
    fn a_doctor_names_a_redis_that_forgets() {
        crate::shared::block_on(crate::doctor::a_redis_that_forgets());
    }

    #[test]
    fn a_doctor_names_streams_and_consumers_that_are_missing() {
        crate::shared::block_on(crate::doctor::streams_and_consumers_that_are_missing());
    }

    #[test]
    fn a_doctor_names_settings_that_cannot_be_right() {
        crate::shared::block_on(crate::doctor::settings_that_cannot_be_right());
    }

    #[test]
    fn a_slow_call_ends_within_a_longer_drain() {
        crate::shared::block_on(crate::lifecycle::a_slow_call_ends_within_a_longer_drain());
    }

    #[test]
    fn a_begun_call_that_nobody_sees_to_is_taken_over() {
        crate::shared::block_on(crate::repeats::a_begun_call_that_nobody_sees_to_is_taken_over());
    }

    #[test]
    fn refreshes_survive_their_auth_service() {
        let site = crate::refresh_faults::site();
        crate::shared::block_on(crate::refresh_faults::refreshes_survive_their_auth_service(site));
    }

    #[test]
    fn a_gateway_names_the_part_that_is_missing() {
        crate::shared::block_on(crate::telemetry::a_gateway_names_the_part_that_is_missing());
    }

    #[test]
    fn a_gateway_says_that_it_leaves_before_it_does() {
        crate::shared::block_on(crate::telemetry::a_gateway_says_that_it_leaves_before_it_does());
    }

    #[test]
    fn no_two_services_share_a_file() {
        crate::shared::block_on(crate::chaos::no_two_services_share_a_file());
    }

    #[test]
    fn every_connection_is_mutual_tls() {
        crate::shared::block_on(crate::tls::every_connection_is_mutual_tls());
    }

    #[test]
    fn certificates_are_renewed_while_services_run() {
        crate::shared::block_on(crate::tls::certificates_are_renewed_while_services_run());
    }

    #[test]
    fn a_ca_is_replaced_while_services_run() {
        crate::shared::block_on(crate::tls::a_ca_is_replaced_while_services_run());
    }

    #[test]
    fn every_executor_calls() {
        crate::shared::block_on(crate::chaos::every_executor_calls());
    }

    #[test]
    fn a_killed_executor_loses_nothing_and_repeats_no_post() {
        crate::shared::block_on(crate::chaos::a_killed_executor_loses_nothing_and_repeats_no_post());
    }

    #[test]
    fn a_call_that_would_not_make_it_is_refused_at_once() {
        crate::shared::block_on(crate::chaos::a_call_that_would_not_make_it_is_refused_at_once());
    }

    #[test]
    fn a_start_without_a_leader_waits_for_one() {
        crate::shared::block_on(crate::chaos::a_start_without_a_leader_waits_for_one());
    }

    #[test]
    fn nothing_is_answered_while_the_broker_stands_still() {
        crate::shared::block_on(crate::chaos::nothing_is_answered_while_the_broker_stands_still());
    }
}
