//! Options as stores keep them, and schedules of retries among them: never a panic, the same again, and no schedule that passes
//! the check goes on for longer than it may.
#![no_main]

use hookcast_core::options::{LONGEST_RETRIES, MOST_RETRIES, Options, Retries};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(options) = serde_json::from_str::<Options>(text) {
        let kept = serde_json::to_string(&options).expect("options are JSON");
        assert_eq!(serde_json::from_str::<Options>(&kept).expect("kept options read back"), options);
        options.retries.iter().for_each(check);
    }
    if let Ok(retries) = serde_json::from_str::<Retries>(text) {
        check(&retries);
    }
});

fn check(retries: &Retries) {
    if retries.check().is_ok() {
        let schedule = retries.schedule(0.0);
        assert!(schedule.delays.len() <= MOST_RETRIES as usize);
        assert!(schedule.longest() <= LONGEST_RETRIES);
    }
}
