//! The kernel command line. Never panics; whatever it says, the pool is below the top of the root file system and every
//! wait ends; reading it again changes nothing.
#![no_main]

use std::path::Component;

use libfuzzer_sys::fuzz_target;
use reclone::config::Config;
use reclone::network::settings::Settings;

fuzz_target!(|data: &[u8]| {
    let mut config = Config::default();
    let complaints = config.read_command_line(data);
    let mut parts = config.pool.components();
    assert!(parts.all(|part| matches!(part, Component::Normal(_))));
    assert!(config.time_to_sync(true).as_secs() <= 604_800);
    let mut again = config.clone();
    assert_eq!(again.read_command_line(data), complaints);
    assert_eq!(again, config);
    let text = String::from_utf8_lossy(data);
    let (settings, _) = Settings::read(&text);
    assert!(settings.fixed.is_none_or(|lease| lease.prefix <= 32));
    assert!(settings.vlan.is_none_or(|(_, number)| (1..=4094).contains(&number)));
});
