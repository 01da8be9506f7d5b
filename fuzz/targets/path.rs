//! Any path in its normal form: stays the same when normalised again, and hides no dot segment from a policy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smov_model::snapshot::PathNormalization;
use smov_proxy::normalize_path;

fuzz_target!(|path: &str| {
    if !path.starts_with('/') || path.contains(['?', '#']) {
        return;
    }
    for mode in [PathNormalization::Base, PathNormalization::MergeSlashes, PathNormalization::DecodeAndMergeSlashes] {
        let normal = normalize_path(path, mode).unwrap_or_else(|| path.to_owned());
        assert!(normal.starts_with('/'), "{normal:?}");
        assert!(!normal.split('/').any(|segment| matches!(segment, "." | "..")), "{mode:?} leaves a dot segment in {normal:?}");
        assert!(!normal.contains('\\'), "{mode:?} leaves a backslash in {normal:?}");
        if mode != PathNormalization::Base {
            assert!(!normal.contains("//"), "{mode:?} leaves {normal:?}");
        }
    }
});
