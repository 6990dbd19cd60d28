//! Compressed bytes made again from their content: the same as zstd made them, bit by bit. An archive that was compressed
//! when it was built, as an initramfs image, differs wholly from the one before; its content hardly does.
//!
//! No compressor is asked, which would have to be of the very version and need its time and memory: which matches it took is
//! sent as it is, in a *recipe*; the literals, half of the packed bytes, come from the content. Layout: `docs/format.md`,
//! section "Repacked".

// the ground
mod bits;
mod fse;

// what stands in a block
mod block;
mod codes;
pub mod huffman;
pub mod sequences;

// all that the content does not tell
pub mod recipe;

use std::io::{self, BufRead, Read, Write};

use block::Blocks;
use recipe::{Block, Item};

use crate::patch::{Base, MAX_PATCH};
use crate::wire::Reader;
use crate::{Error, Result, patch};

/// The most bytes of a content.
pub const MAX_CONTENT: u64 = 1 << 30;
const STRUCTURE: &str = "recipe";
/// The memory that it takes at most: a block's content, its parts, and what they become.
pub const MEMORY: u64 = 1 << 20;

/// Makes the packed bytes of `payload`, which ends with them, from `base`, writing them to `out`. Memory: [`MEMORY`], what
/// [`MAX_PATCH`] allows, and four zstd windows.
pub fn apply(
    payload: &mut impl BufRead,
    base: &(impl Base + ?Sized),
    window_log: u8,
    out: &mut impl Write,
) -> Result<()> {
    let mut fields = Reader::new(payload, STRUCTURE);
    let (length, size) = (fields.u64()?, fields.u64()?);
    if length > MAX_PATCH || size > MAX_CONTENT {
        return Err(fields.bad("it is larger than 64 MiB, or its content than 1 GiB"));
    }
    let recipe = fields.bytes(length as usize, MAX_PATCH as usize, "it")?;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(&recipe[..])?.single_frame();
    decoder.window_log_max(u32::from(window_log))?;
    let mut repacker = Repacker::new(decoder, out)?;
    patch::apply(fields.into_inner(), base, window_log, size, &mut repacker)?;
    let mut rest = Reader::new(repacker.finish()?.0, STRUCTURE);
    match rest.at_end()? && rest.into_inner().finish().is_empty() {
        true => Ok(()),
        false => Err(Error::malformed(STRUCTURE, "it goes on after its end")),
    }
}

/// Takes content and writes the packed bytes.
pub struct Repacker<R, W> {
    recipe: Reader<R>,
    out: W,
    /// What the next content is for.
    now: Item,
    /// What came of the block that is to be written.
    content: Vec<u8>,
    blocks: Blocks,
    packed: Vec<u8>,
}

impl<R: Read, W: Write> Repacker<R, W> {
    /// Goes by `recipe` and writes to `out`.
    pub fn new(recipe: R, out: W) -> Result<Self> {
        let mut repacker = Self {
            recipe: Reader::new(recipe, STRUCTURE),
            out,
            now: Item::End,
            content: Vec::new(),
            blocks: Blocks::default(),
            packed: Vec::new(),
        };
        repacker.go_on()?;
        Ok(repacker)
    }

    /// Writes what needs no more content, up to an item that does.
    fn go_on(&mut self) -> Result<()> {
        loop {
            match Item::read(&mut self.recipe)? {
                Item::Bytes(bytes) => self.out.write_all(&bytes)?,
                Item::Block(block) if block.size == 0 => self.write_block(&block)?,
                item => {
                    self.now = item;
                    return Ok(());
                }
            }
        }
    }

    fn write_block(&mut self, block: &Block) -> Result<()> {
        self.packed.clear();
        self.blocks.write(block, &self.content, &mut self.packed)?;
        self.content.clear();
        Ok(self.out.write_all(&self.packed)?)
    }

    /// Takes some of `content`; how much.
    fn take(&mut self, content: &[u8]) -> Result<usize> {
        match &mut self.now {
            Item::Plain(left) => {
                let count =
                    usize::try_from(*left).map_or(content.len(), |left| left.min(content.len()));
                self.out.write_all(&content[..count])?;
                *left -= count as u64;
                if *left == 0 {
                    self.go_on()?;
                }
                Ok(count)
            }
            Item::Block(block) => {
                let missing = block.size - self.content.len();
                let count = missing.min(content.len());
                self.content.extend_from_slice(&content[..count]);
                if count == missing {
                    let now = std::mem::replace(&mut self.now, Item::End);
                    if let Item::Block(block) = &now {
                        self.write_block(block)?;
                    }
                    self.go_on()?;
                }
                Ok(count)
            }
            _ => Err(self.recipe.bad("it ends before the content does")),
        }
    }

    /// Checks that all of the recipe was used; gives its source back, and what was written to.
    pub fn finish(self) -> Result<(R, W)> {
        match self.now {
            Item::End => Ok((self.recipe.into_inner(), self.out)),
            _ => Err(self.recipe.bad("it goes on after the content")),
        }
    }
}

impl<R: Read, W: Write> Write for Repacker<R, W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.take(content).map_err(|error| match error {
            Error::Io(error) => error,
            other => io::Error::other(other),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
