//! Tables of configuration files and kernel command lines, and what becomes of them.

use super::*;

fn file(text: &str) -> (Config, Vec<String>) {
    let mut config = Config::default();
    let complaints = config.read_file(Path::new("reclone.conf"), text.as_bytes());
    (config, complaints.iter().map(ToString::to_string).collect())
}

fn command_line(text: &str) -> (Config, Vec<String>) {
    let mut config = Config::default();
    let complaints = config.read_command_line(text.as_bytes());
    (config, complaints.iter().map(ToString::to_string).collect())
}

#[test]
fn every_key_of_the_file_is_read() {
    let (config, complaints) = file(
        "# a clone of room 12\n\
         store = https://model/store\noffline-store = LABEL=RECLONE:/store\n model=lab \nkey = /etc/reclone/model.pub\n\n\
         pool = /var/reclone\r\npool-device=LABEL=pool\ntimeout = 20\nfirst-timeout = 7200\nca = /etc/reclone/ca.pem\n\
         pin = sha256//AAAA=\ntoken-file = /etc/reclone/token\nproxy = http://proxy:3128\n\
         sessions = 5\nsessions-space = 2G\nmode = follow\nlocal-newer-wins = yes\nsession = ram,30%\n\
         trial.boots = 5\ntrial.timeout = 600\nboot-loader = no",
    );
    assert_eq!(complaints, [""; 0]);
    let expected = Config {
        mode: Mode::On,
        follow: true,
        local_newer_wins: true,
        session: SessionPlace::Ram {
            size: Some("30%".into()),
        },
        store: Some("https://model/store".into()),
        offline_store: Some(OfflineStore {
            device: "LABEL=RECLONE".into(),
            folder: "store".into(),
        }),
        model: Some("lab".into()),
        key: Some(Key::File("/etc/reclone/model.pub".into())),
        pool: "var/reclone".into(),
        pool_device: Some("LABEL=pool".into()),
        timeout: Duration::from_secs(20),
        first_timeout: Duration::from_secs(7200),
        ca: Some("/etc/reclone/ca.pem".into()),
        pin: Some("sha256//AAAA=".into()),
        token_file: Some("/etc/reclone/token".into()),
        proxy: Some("http://proxy:3128".into()),
        sessions: 5,
        sessions_space: Space::Bytes(2 << 30),
        kernel: None,
        install: None,
        install_over: None,
        hostname: None,
        boot_loader: false,
        trial_boots: 5,
        trial_timeout: Duration::from_secs(600),
    };
    assert_eq!(config, expected);
}

#[test]
fn a_stick_can_be_named_on_the_command_line() {
    let (config, complaints) = command_line("reclone.offline-store=\"LABEL=MY STICK:/store\"");
    assert_eq!(complaints, [""; 0]);
    let found = config.offline_store.map(|it| it.to_string());
    assert_eq!(found.as_deref(), Some("LABEL=MY STICK:/store"));
}

#[test]
fn a_kernel_that_was_started_is_named_on_the_command_line_alone() {
    let (config, complaints) = command_line("quiet reclone.kernel=6.12.1-amd64");
    assert_eq!(config.kernel.as_deref(), Some("6.12.1-amd64"));
    assert_eq!(complaints, [""; 0]);
    assert_eq!(file("kernel = 6.12.1-amd64").0, Config::default());
}

#[test]
fn a_line_that_can_not_be_used_is_named_and_left_out() {
    let cases = [
        (
            "sessions = many",
            "reclone.conf:1: `many` is not a number between 0 and 1000",
        ),
        (
            "sessions-space = 101%",
            "reclone.conf:1: `101%` is neither a part of the disk, as in `10%`, nor a size, as in `500M`",
        ),
        (
            "sessions-space = 99999999999T",
            "reclone.conf:1: `99999999999T` is neither a part of the disk, as in `10%`, nor a size, as in `500M`",
        ),
        (
            "stoer = x",
            "reclone.conf:1: `stoer` is not a key that this version knows",
        ),
        (
            "\n\nstore",
            "reclone.conf:3: `store` is not of the form `key = value`",
        ),
        ("store =", "reclone.conf:1: `store` has no value"),
        (
            "mode = thaw",
            "reclone.conf:1: `thaw` is neither freeze nor follow",
        ),
        (
            "session = ram,0,mode=777",
            "reclone.conf:1: `ram,0,mode=777` is not disk, ram, or ram with a size: ram,2G or ram,30%",
        ),
        (
            "timeout = soon",
            "reclone.conf:1: `soon` is not a number of seconds between 1 and 604800",
        ),
        (
            "timeout = 0",
            "reclone.conf:1: `0` is not a number of seconds between 1 and 604800",
        ),
        (
            "pool = a/../../etc",
            "reclone.conf:1: `a/../../etc` is not a folder below the top of the root file system",
        ),
        (
            "pool = /",
            "reclone.conf:1: `/` is not a folder below the top of the root file system",
        ),
    ];
    for (text, complaint) in cases {
        assert_eq!(
            file(text),
            (Config::default(), vec![complaint.to_owned()]),
            "{text}"
        );
    }
}

#[test]
fn bytes_that_are_no_text_do_not_stop_the_reading() {
    let mut config = Config::default();
    let complaints = config.read_file(Path::new("f"), b"\xff\xfe\0\nmodel = lab\n");
    assert_eq!(complaints.len(), 1);
    assert_eq!(config.model.as_deref(), Some("lab"));
}

#[test]
fn the_last_mode_on_the_command_line_counts() {
    let cases = [
        ("", Mode::On),
        ("quiet root=/dev/sda1 rw", Mode::On),
        ("reclone=on", Mode::On),
        ("ro reclone=skip quiet\n", Mode::Skip),
        ("reclone=reset", Mode::Reset { forget: false }),
        ("reclone=reset,forget", Mode::Reset { forget: true }),
        ("reclone=rollback", Mode::Rollback),
        ("reclone=off", Mode::Off),
        ("rd.reclone=off", Mode::Off),
        ("reclone=off reclone=skip", Mode::Skip),
        ("recloned=off xreclone=off reclone", Mode::On),
    ];
    for (text, mode) in cases {
        let (config, complaints) = command_line(text);
        assert_eq!((config.mode, complaints.len()), (mode, 0), "{text}");
    }
}

#[test]
fn the_command_line_overrides_the_file() {
    let text = b"store = http://a/\ntimeout = 5\nmodel = lab\n";
    let words = b"reclone.store=http://b/ rd.reclone.timeout=9 reclone.pool=/srv/pool \"reclone.model=my lab\"";
    let (config, complaints) = Config::read(Path::new("f"), text, words);
    assert_eq!(complaints, []);
    assert_eq!(config.store.as_deref(), Some("http://b/"));
    assert_eq!(config.model.as_deref(), Some("my lab"));
    assert_eq!(config.timeout, Duration::from_secs(9));
    assert_eq!(config.pool, Path::new("srv/pool"));
}

#[test]
fn a_wrong_word_on_the_command_line_is_named_and_left_out() {
    let cases = [
        (
            "reclone=maybe",
            "kernel command line, `reclone=maybe`: must be on, skip, reset, reset,forget, rollback or off",
        ),
        (
            "rd.reclone.pol=/x",
            "kernel command line, `rd.reclone.pol=/x`: `pol` is not a key that this version knows",
        ),
    ];
    for (text, complaint) in cases {
        assert_eq!(
            command_line(text),
            (Config::default(), vec![complaint.to_owned()]),
            "{text}"
        );
    }
}

#[test]
fn a_first_clone_never_gets_less_time_than_a_later_one() {
    let (config, _) = file("timeout = 100\nfirst-timeout = 10");
    assert_eq!(config.time_to_sync(true), Duration::from_secs(100));
    assert_eq!(config.time_to_sync(false), Duration::from_secs(100));
    assert_eq!(
        Config::default().time_to_sync(false),
        Duration::from_secs(3600)
    );
}

#[test]
fn what_the_command_line_says_of_an_installation_is_for_that_boot() {
    let line = "root=/dev/x reclone=skip reclone.install=/dev/sda reclone.install-over=S reclone.hostname= \
        reclone.kernel=6 reclone.store=http://m rd.reclone.key=K= \"reclone.model=my lab\" reclones.x=y";
    let (config, complaints) = command_line(line);
    assert_eq!(complaints, [""; 0]);
    assert_eq!(config.install.as_deref(), Some(Path::new("/dev/sda")));
    assert_eq!(config.install_over.as_deref(), Some("S"));
    assert_eq!(config.hostname, None, "the network did not know one");
    assert_eq!(lines(line), "store = http://m\nkey = K=\nmodel = my lab\n");
    let (_, complaints) = file("install = /dev/sda");
    assert_eq!(complaints.len(), 1, "no file makes a disk go");
}
