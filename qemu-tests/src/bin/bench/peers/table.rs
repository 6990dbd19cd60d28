//! The figures as Markdown: what must be shown, and everything that was measured.

use super::floor::FLOOR;
use super::link::LINKS;
use super::sample::{Sample, Samples};
use super::{OPERATIONS, STATES};

const RECLONE: &str = "reclone";
const LOOPBACK: &str = "loopback";
const MIB: f64 = 1024.0;

/// One thing to be shown: the figure, the most that it may be, and what it was compared with.
struct Target {
    what: &'static str,
    figure: Option<f64>,
    most: f64,
    unit: &'static str,
    beside: String,
}

/// Prints both tables, and the versions of what was measured.
pub fn print(samples: &Samples, versions: &[(&str, String)]) {
    let figures = Figures { samples };
    println!("\n| what | measured | at most | | beside |\n|---|---|---|---|---|");
    for target in figures.targets() {
        println!("{}", row(&target));
    }
    println!(
        "\n| operation, link | who | wall | CPU | CPU of the server | memory | bytes | requests | runs |\n|---|---|---|---|---|---|---|---|---|"
    );
    let names: Vec<_> = versions.iter().map(|(name, _)| *name).collect();
    for operation in OPERATIONS {
        for link in LINKS {
            figures.rows(&names, link.name, operation.name());
        }
    }
    for state in STATES {
        for operation in ["ready", "publish"] {
            figures.rows(&names, "-", &format!("{operation}-{}", state.name()));
        }
    }
    for operation in ["update", "update-whole", "small"] {
        figures.rows(&[FLOOR], "-", operation);
    }
    println!();
    for (name, version) in versions {
        println!("{name}: {version}");
    }
}

fn row(target: &Target) -> String {
    let Target {
        what,
        figure,
        most,
        unit,
        beside,
    } = target;
    let Some(figure) = figure else {
        return format!("| {what} | | {} {unit} | not measured | |", round(*most));
    };
    let met = if figure <= most { "met" } else { "**not met**" };
    format!(
        "| {what} | {} {unit} | {} {unit} | {met} | {beside} |",
        round(*figure),
        round(*most)
    )
}

fn round(figure: f64) -> String {
    match figure {
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure if figure >= 0.1 => format!("{figure:.2}"),
        figure => format!("{figure:.4}"),
    }
}

struct Figures<'a> {
    samples: &'a Samples,
}

impl Figures<'_> {
    fn get(&self, peer: &str, link: &str, operation: &str) -> Option<Sample> {
        Some(self.samples.median(peer, link, operation)?.0)
    }

    fn wall(&self, peer: &str, link: &str, operation: &str) -> Option<f64> {
        let sample = self.get(peer, link, operation)?;
        Some(sample.cost.wall.as_secs_f64())
    }

    fn rows(&self, names: &[&str], link: &str, operation: &str) {
        for name in names {
            let Some((sample, runs)) = self.samples.median(name, link, operation) else {
                continue;
            };
            let Sample {
                cost,
                server,
                bytes,
                requests,
            } = sample;
            println!(
                "| {operation}, {link} | {name} | {:.3} s | {:.2} s | {:.2} s | {:.0} MiB | {bytes} | {requests} | {runs} |",
                cost.wall.as_secs_f64(),
                cost.cpu.as_secs_f64(),
                server.as_secs_f64(),
                cost.memory as f64 / MIB,
            );
        }
    }

    /// The fastest of those that were measured.
    fn fastest(&self, link: &str, operation: &str) -> Option<(&'static str, f64)> {
        [
            "rsync",
            "rsync-z",
            "ostree",
            "ostree-delta",
            "casync",
            "tar",
        ]
        .into_iter()
        .filter_map(|peer| Some((peer, self.wall(peer, link, operation)?)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn against_fastest(&self, what: &'static str, link: &str, most: f64) -> Target {
        let fastest = self.fastest(link, "update");
        let own = self.wall(RECLONE, link, "update");
        Target {
            what,
            figure: own.zip(fastest).map(|(own, (_, time))| own / time),
            most,
            unit: "of it",
            beside: fastest.map_or_else(String::new, |(name, time)| {
                format!(
                    "{} s to {name}'s {} s",
                    round(own.unwrap_or_default()),
                    round(time)
                )
            }),
        }
    }

    /// reclone's wall time to a peer's.
    fn against(&self, what: &'static str, operation: &str, peer: &str, most: f64) -> Target {
        let (own, time) = (
            self.wall(RECLONE, LOOPBACK, operation),
            self.wall(peer, LOOPBACK, operation),
        );
        let both = own.zip(time);
        Target {
            what,
            figure: both.map(|(own, time)| own / time),
            most,
            unit: "of it",
            beside: both.map_or_else(String::new, |(own, time)| {
                format!("{} s to {peer}'s {} s", round(own), round(time))
            }),
        }
    }

    /// A figure of reclone's own.
    fn own(
        &self,
        what: &'static str,
        [link, operation]: [&str; 2],
        figure: impl Fn(&Sample) -> f64,
        (most, unit): (f64, &'static str),
    ) -> Target {
        Target {
            what,
            figure: self.get(RECLONE, link, operation).as_ref().map(figure),
            most,
            unit,
            beside: String::new(),
        }
    }

    fn bytes_to(
        &self,
        what: &'static str,
        [link, operation]: [&str; 2],
        peer: &str,
        most: f64,
    ) -> Target {
        let beside = if peer == FLOOR { "-" } else { link };
        let own = self.get(RECLONE, link, operation);
        let both = own.zip(self.get(peer, beside, operation));
        Target {
            what,
            figure: both.map(|(own, other)| own.bytes as f64 / other.bytes as f64),
            most,
            unit: "of it",
            beside: both.map_or_else(String::new, |(own, other)| {
                format!("{} to {} bytes", own.bytes, other.bytes)
            }),
        }
    }

    fn targets(&self) -> Vec<Target> {
        let seconds = |sample: &Sample| sample.cost.wall.as_secs_f64();
        let bytes = |sample: &Sample| sample.bytes as f64;
        let requests = |sample: &Sample| sample.requests as f64;
        let floor = self.get(FLOOR, "-", "small").unwrap_or_default().bytes as f64;
        let nothing = [LOOPBACK, "nothing"];
        let memory = OPERATIONS
            .iter()
            .filter_map(|operation| self.get(RECLONE, LOOPBACK, operation.name()))
            .map(|sample| sample.cost.memory)
            .max();
        vec![
            self.bytes_to(
                "update: bytes, to zstd -19 --patch-from",
                [LOOPBACK, "update"],
                FLOOR,
                0.85,
            ),
            self.against_fastest(
                "update: time on loopback, to the fastest peer",
                LOOPBACK,
                0.6,
            ),
            self.against_fastest(
                "update: time at 100 Mbit/s, to the fastest peer",
                "100mbit",
                0.65,
            ),
            self.own(
                "small change: requests",
                [LOOPBACK, "small"],
                requests,
                (3.0, ""),
            ),
            self.own(
                "small change: bytes",
                [LOOPBACK, "small"],
                bytes,
                (floor + 8192.0, "bytes"),
            ),
            self.against("small change: time, to rsync", "small", "rsync", 1.0 / 20.0),
            self.own("nothing changed: requests", nothing, requests, (1.0, "")),
            self.own("nothing changed: bytes", nothing, bytes, (1023.0, "bytes")),
            self.against(
                "nothing changed: time, to rsync",
                "nothing",
                "rsync",
                1.0 / 100.0,
            ),
            self.against(
                "nothing changed: time, to OSTree",
                "nothing",
                "ostree",
                1.0 / 5.0,
            ),
            self.own(
                "1,000 files of drift: time",
                [LOOPBACK, "drift"],
                seconds,
                (0.05, "s"),
            ),
            self.against("first clone: time, to tar", "clone", "tar", 1.2),
            self.bytes_to(
                "first clone: bytes, to tar.zst",
                [LOOPBACK, "clone"],
                "tar",
                1.0,
            ),
            self.own(
                "publish: everything new",
                ["-", "publish-release"],
                seconds,
                (45.0, "s"),
            ),
            self.own(
                "publish: small change",
                ["-", "publish-touched"],
                seconds,
                (3.0, "s"),
            ),
            self.own(
                "publish: upgrade, until it can be pulled",
                ["-", "ready-updated"],
                seconds,
                (60.0, "s"),
            ),
            self.own(
                "publish: upgrade, with its delta pack",
                ["-", "publish-updated"],
                seconds,
                (480.0, "s"),
            ),
            Target {
                what: "memory of the agent in all of these",
                figure: memory.map(|memory| memory as f64 / MIB),
                most: 128.0,
                unit: "MiB",
                beside: String::new(),
            },
        ]
    }
}
