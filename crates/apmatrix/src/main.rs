//! Temporary driver for the image and launch modules.
mod image;
mod launch;

fn main() -> anyhow::Result<()> {
    let image = image::ensure(&image::default_dir(), &mut |line| eprintln!("{line}"))?;
    println!("{image:?}");
    Ok(())
}
