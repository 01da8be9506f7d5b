//! The webhook on `fault:`.

use super::Findings;
use super::values::{check_duration, check_percentage};
use crate::grpc::grpc_status;
use crate::resource::HttpFaultInjection;

pub(super) fn check(fault: &HttpFaultInjection, path: &str, findings: &mut Findings) {
    if fault.delay.is_none() && fault.abort.is_none() {
        findings.error(
            "invalid-fault",
            path,
            "HTTP fault injection must have an abort and/or a delay",
            "fault에는 delay나 abort가 있어야 합니다",
        );
    }
    if let Some(delay) = &fault.delay {
        let path = format!("{path}.delay");
        check_percentage(delay.percentage, &format!("{path}.percentage"), findings);
        if let Some(percent) = delay.percent.filter(|percent| !(0..=100).contains(percent)) {
            let message = format!("percent {percent} is not in range 0..100");
            findings.error("invalid-percentage", &format!("{path}.percent"), message, format!("{percent}은(는) 0~100이어야 합니다"));
        }
        match (&delay.fixed_delay, &delay.exponential_delay) {
            (_, Some(_)) => findings.error(
                "invalid-fault",
                &format!("{path}.exponentialDelay"),
                "exponentialDelay not supported yet",
                "exponentialDelay는 Istio가 지원하지 않습니다",
            ),
            (None, None) => findings.error("invalid-fault", &path, "delay: fixedDelay is required", "fixedDelay가 있어야 합니다"),
            (Some(text), None) => check_duration(Some(text), &format!("{path}.fixedDelay"), findings),
        }
        if delay.percentage.is_none() && delay.percent.is_none() {
            no_percentage(&path, findings);
        }
    }
    if let Some(abort) = &fault.abort {
        let path = format!("{path}.abort");
        check_percentage(abort.percentage, &format!("{path}.percentage"), findings);
        if abort.http2_error.is_some() {
            findings.error(
                "invalid-fault",
                &format!("{path}.http2Error"),
                "HTTP/2 abort fault injection not supported yet",
                "http2Error는 Istio가 지원하지 않습니다",
            );
        }
        if let Some(status) = abort.http_status.filter(|status| !(200..=600).contains(status)) {
            let message = format!("HTTP status {status} is not in range 200-599");
            findings.error("invalid-fault", &format!("{path}.httpStatus"), message, format!("상태 코드 {status}은(는) 200~599여야 합니다"));
        }
        if let Some(status) = abort.grpc_status.as_deref().filter(|status| grpc_status(status).is_none()) {
            let message = format!("gRPC status {status:?} is not supported");
            findings.error("invalid-fault", &format!("{path}.grpcStatus"), message, format!("gRPC 상태 `{status}`을(를) 모릅니다"));
        }
        if abort.http_status.is_none() && abort.grpc_status.is_none() && abort.http2_error.is_none() {
            findings.warning("abort-without-type", &path, "abort fault error type not specified", "abort의 종류(httpStatus 등)가 없습니다");
        }
        if abort.percentage.is_none() {
            no_percentage(&path, findings);
        }
    }
}

fn no_percentage(path: &str, findings: &mut Findings) {
    let message = "percentage is not set, which means 0 %: no request is affected";
    findings.warning("fault-without-percentage", path, message, "percentage가 없으면 0 %입니다. 영향을 받는 요청이 없습니다");
    findings.help("add percentage: {value: 100}", "percentage: {value: 100}을 더하세요");
}
