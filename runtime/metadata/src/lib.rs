//! The pure cluster image: (image, command) to image.
