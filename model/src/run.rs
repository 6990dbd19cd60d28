//! Turns parsed arguments into calls of the modules that do the work.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use reclone_format::{PublicKey, TreePath};
use serde_json::{Value, json};

use crate::add_deltas::{DeltaOptions, add_deltas};
use crate::cli::{
    Arguments, Command, Delta, Init, Lint, Netboot, Publish, Serve, Setup, Show, Verify,
};
use crate::error::{Context, Error, InFile, Result};
use crate::export::{ExportOptions, export};
use crate::folder::Crossing;
use crate::identify::Changing;
use crate::keys::{Passphrase, Signer};
use crate::list::{Form, list, list_files, show};
use crate::netboot::{NetbootOptions, netboot};
use crate::prune::{PruneOptions, prune};
use crate::publish::{PublishOptions, findings, publish, publish_again};
use crate::serve::{ServeOptions, serve};
use crate::setup::{SetupOptions, setup};
use crate::store::{Record, Store, host_name, is_model_name};
use crate::verify::verify;

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Fine,
    /// `verify` or `lint` found something and said so.
    Wrong,
}

/// Does what the arguments ask for.
pub fn run(arguments: Arguments) -> Result<Verdict> {
    match arguments.command {
        _ if arguments.version => print(&format!("reclone-model {}\n", env!("CARGO_PKG_VERSION")))?,
        Some(Command::Setup(arguments)) => run_setup(arguments)?,
        Some(Command::Init(arguments)) => init(&arguments)?,
        Some(Command::Publish(arguments)) => run_publish(&arguments)?,
        Some(Command::Delta(arguments)) => run_delta(&arguments)?,
        Some(Command::Lint(arguments)) => return run_lint(&arguments),
        Some(Command::List(arguments)) => {
            let store = Store::open(&arguments.store)?;
            print(&list(&store, form(arguments.json))?)?;
        }
        Some(Command::Show(arguments)) => run_show(&arguments)?,
        Some(Command::Verify(arguments)) => return run_verify(&arguments),
        Some(Command::Prune(arguments)) => {
            if arguments.keep == 0 {
                return Err(Error::Usage(
                    "--keep 0: the newest generation always stays".into(),
                ));
            }
            let options = PruneOptions {
                keep: arguments.keep,
                dry_run: arguments.dry_run,
            };
            prune(&Store::open(&arguments.store)?, &options)?;
        }
        Some(Command::Export(arguments)) => {
            if arguments.generations == 0 {
                return Err(Error::Usage(
                    "--generations 0: the newest generation always comes along".into(),
                ));
            }
            let options = ExportOptions {
                to: arguments.to,
                generations: arguments.generations,
                verify: arguments.verify,
            };
            export(&Store::open(&arguments.store)?, &options)?;
        }
        Some(Command::Netboot(arguments)) => run_netboot(arguments)?,
        Some(Command::Serve(arguments)) => run_serve(arguments)?,
        None => {
            return Err(Error::Usage(
                "No command was given; `reclone-model --help` lists them".into(),
            ));
        }
    }
    Ok(Verdict::Fine)
}

fn run_setup(arguments: Setup) -> Result<()> {
    if let Some(model) = &arguments.model {
        check_name(model)?;
    }
    let options = SetupOptions {
        store: arguments.store,
        key: arguments.key,
        from: arguments.from,
        model: arguments.model,
        url: arguments.url,
        port: arguments.port,
        serve_unit: arguments.serve_unit,
        dry_run: arguments.dry_run,
    };
    print(&setup(&options, &host_name())?)
}

fn run_netboot(arguments: Netboot) -> Result<()> {
    let options = NetbootOptions {
        to: arguments.dir,
        disk: arguments.disk,
        store: arguments.store,
        url: arguments.url,
        port: arguments.port,
        kernel: arguments.kernel,
    };
    print(&netboot(&options, &host_name())?)
}

fn init(arguments: &Init) -> Result<()> {
    let model = arguments.model.clone().unwrap_or_else(host_name);
    check_name(&model)?;
    let passphrase = match &arguments.passphrase_file {
        Some(file) => Passphrase::File(file.clone()),
        None if arguments.passphrase => Passphrase::Ask,
        None => Passphrase::None,
    };
    let key = &arguments.key;
    let signer = Signer::open_or_create(key, &passphrase)?;
    let record = Record {
        model: model.clone(),
        key: signer.public().to_owned(),
    };
    let store = Store::create(&arguments.store, record)?;
    log::info!(
        "made the store {} for the model {model}; clones need {}.pub",
        store.root().display(),
        key.display()
    );
    Ok(())
}

fn run_publish(arguments: &Publish) -> Result<()> {
    let mut store = Store::open(&arguments.store)?;
    if arguments.again.is_some() && arguments.dry_run {
        return Err(Error::Usage(
            "--again and --dry-run do not go together".into(),
        ));
    }
    if !(1..=22).contains(&arguments.level) {
        return Err(Error::Usage(format!(
            "--level {} is not between 1 and 22",
            arguments.level
        )));
    }
    if arguments.no_delta && !arguments.delta_from.is_empty() {
        return Err(Error::Usage(
            "--no-delta and --delta-from do not go together".into(),
        ));
    }
    let signer = open_signer(&store, &arguments.key, &arguments.passphrase_file)?;
    if let Some(model) = &arguments.model {
        check_name(model)?;
    }
    let options = PublishOptions {
        from: arguments.from.clone(),
        secrets: [&arguments.key]
            .into_iter()
            .chain(&arguments.passphrase_file)
            .cloned()
            .collect(),
        model: arguments.model.clone(),
        level: arguments.level,
        crossing: Crossing {
            all: arguments.all_file_systems,
            at: paths_in_tree(&arguments.cross)?,
        },
        changing: match arguments.allow_changing {
            true => Changing::Allow,
            false => Changing::Refuse,
        },
        rehash: arguments.rehash,
        full: arguments.full,
        dry_run: arguments.dry_run,
        deltas: (!arguments.no_delta).then(|| DeltaOptions {
            from: arguments.delta_from.clone(),
            effort: arguments.effort,
        }),
    };
    let published = match arguments.again {
        Some(generation) => publish_again(&store, &signer, generation, options.deltas.as_ref())?,
        None => publish(&mut store, &signer, &options)?,
    };
    print(&format!("{}\n", published.generation))
}

fn open_signer(store: &Store, key: &Path, passphrase_file: &Option<PathBuf>) -> Result<Signer> {
    let passphrase = match passphrase_file {
        Some(file) => Passphrase::File(file.clone()),
        None => Passphrase::Ask,
    };
    let signer = Signer::open(key, &passphrase)?;
    if signer.public() != store.record().key {
        return Err(Error::WrongKey {
            key: key.to_owned(),
            given: signer.public().into(),
            store: store.root().to_owned(),
            recorded: store.record().key.clone(),
        });
    }
    Ok(signer)
}

fn run_delta(arguments: &Delta) -> Result<()> {
    let store = Store::open(&arguments.store)?;
    let signer = open_signer(&store, &arguments.key, &arguments.passphrase_file)?;
    let options = DeltaOptions {
        from: arguments.from.clone(),
        effort: arguments.effort,
    };
    let _lock = store.lock("delta")?;
    add_deltas(&store, &signer, &options)
}

fn form(json: bool) -> Form {
    match json {
        true => Form::Json,
        false => Form::Text,
    }
}

fn run_show(arguments: &Show) -> Result<()> {
    let store = Store::open(&arguments.store)?;
    if arguments.files {
        let mut output = io::BufWriter::new(io::stdout().lock());
        return list_files(&store, arguments.generation, &mut output);
    }
    print(&show(&store, arguments.generation, form(arguments.json))?)
}

fn run_lint(arguments: &Lint) -> Result<Verdict> {
    let crossing = Crossing {
        all: false,
        at: paths_in_tree(&arguments.cross)?,
    };
    let findings = findings(&arguments.from, &crossing, &[])?;
    let text = match arguments.json {
        true => {
            let list = findings
                .iter()
                .map(|it| json!({"path": it.path.to_string(), "what": it.what}));
            format!("{}\n", list.collect::<Value>())
        }
        false => findings
            .iter()
            .map(|it| format!("{}: {}\n", it.path, it.what))
            .collect(),
    };
    print(&text)?;
    Ok(match findings.is_empty() {
        true => Verdict::Fine,
        false => Verdict::Wrong,
    })
}

fn paths_in_tree(paths: &[PathBuf]) -> Result<Vec<TreePath>> {
    paths.iter().map(|path| path_in_tree(path)).collect()
}

fn run_verify(arguments: &Verify) -> Result<Verdict> {
    let store = Store::open(&arguments.store)?;
    let key = match &arguments.key {
        Some(file) => {
            let text = fs::read_to_string(file).context("read", file)?;
            PublicKey::decode(&text).in_file(file)?
        }
        None => store.public_key()?,
    };
    let report = verify(&store, &key)?;
    for problem in &report.problems {
        log::error!("{problem}");
    }
    log::info!(
        "checked {} generations, {} packs, {} objects: {} problems",
        report.generations,
        report.packs,
        report.objects,
        report.problems.len()
    );
    Ok(match report.problems.is_empty() {
        true => Verdict::Fine,
        false => Verdict::Wrong,
    })
}

fn run_serve(arguments: Serve) -> Result<()> {
    let store = Store::open(&arguments.store)?;
    let tls = match (arguments.tls_cert, arguments.tls_key) {
        (Some(chain), Some(key)) => Some((chain, key)),
        (None, None) => None,
        _ => {
            return Err(Error::Usage(
                "--tls-cert and --tls-key belong together".into(),
            ));
        }
    };
    let token = match &arguments.token_file {
        Some(file) => {
            let text = fs::read_to_string(file).context("read", file)?;
            let token = text.lines().next().unwrap_or_default().trim().to_owned();
            if token.is_empty() {
                return Err(Error::Usage(format!(
                    "{} holds no token in its first line",
                    file.display()
                )));
            }
            Some(token)
        }
        None => None,
    };
    Ok(serve(ServeOptions {
        store: store.root().to_owned(),
        listen: arguments.listen,
        tls,
        token,
    })?)
}

fn check_name(model: &str) -> Result<()> {
    if is_model_name(model) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "`{model}` can not be a model's name: 1 to 64 letters, digits, `.`, `_` or `-` are"
    )))
}

/// A path of the tree as a user writes it, with or without a slash before it.
fn path_in_tree(path: &Path) -> Result<TreePath> {
    let parts = path.components().filter_map(|part| match part {
        std::path::Component::RootDir => None,
        part => Some(part.as_os_str()),
    });
    let path: PathBuf = parts.collect();
    TreePath::from_bytes(path.as_os_str().as_bytes().to_vec())
        .map_err(|error| Error::Usage(error.to_string()))
}

/// Writes to standard output.
fn print(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .context("write to", Path::new("standard output"))
}
