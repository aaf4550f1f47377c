//! A temporary folder.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// A folder that is removed when this is dropped, unless it is to be kept.
pub struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// A new one, which nobody else can look into.
    pub fn new(is_kept: bool) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("hookcast-demo-{:016x}", rand::random::<u64>()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, is_kept })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // There is nobody left to tell.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_unless_it_is_kept() {
        for is_kept in [false, true] {
            let folder = Folder::new(is_kept).unwrap();
            let path = folder.path().to_owned();
            std::fs::write(path.join("file"), "text").unwrap();
            drop(folder);
            assert_eq!(path.exists(), is_kept);
            let _ = std::fs::remove_dir_all(path);
        }
    }
}
