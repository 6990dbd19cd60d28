//! One file of 4 GiB: what it takes of memory on the model and on a clone, as a new one and after a change in its middle.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::cases::{Bench, row};
use crate::measure::measure;
use crate::trees::{Tree, remove};

const MIB: usize = 1 << 20;
const SIZE: u64 = 4 << 30;

impl Bench {
    pub fn giant(&self) -> io::Result<()> {
        println!("a file of 4 GiB, half of it random");
        let path = self.folder("giant");
        remove(&path)?;
        fs::create_dir_all(&path)?;
        let file = path.join("disk.img");
        write(&file)?;
        let tree = Tree {
            path: path.clone(),
            entries: 2,
            bytes: SIZE,
        };
        let (store, cost) = self.store(&tree)?;
        row("publish", &cost);
        let pool = self.folder("pool");
        remove(&pool)?;
        let sync = self.sync_command(&store.display().to_string(), &pool);
        row("the first sync", &measure(&sync)?);
        let changed = vec![1; MIB];
        File::options()
            .write(true)
            .open(&file)?
            .write_all_at(&changed, SIZE / 2)?;
        row(
            "publish after a change of 1 MiB",
            &measure(&self.publish_command(&store, &tree))?,
        );
        row("the sync of that", &measure(&sync)?);
        [path, store, pool].iter().try_for_each(|it| remove(it))
    }
}

/// Every other MiB can be compressed.
fn write(path: &Path) -> io::Result<()> {
    let mut chance = fastrand::Rng::with_seed(4);
    let mut file = File::create(path)?;
    let mut block = vec![0; MIB];
    for number in 0..SIZE / MIB as u64 {
        match number % 2 {
            0 => chance.fill(&mut block),
            _ => block.fill(number as u8),
        }
        file.write_all(&block)?;
    }
    Ok(())
}
