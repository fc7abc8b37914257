//! Implements the object-safe traits of `T` for the pointers `&T`, `Box<T>` and `Arc<T>`.

/// Implements a trait for pointers from the signatures of all its methods. List every method: one that is left out and
/// has a default would silently fall back to that default.
macro_rules! forward_pointers {
    (impl $name:ident { $($methods:tt)+ }) => {
        forward_pointers!(@impl $name for &T { $($methods)+ });
        forward_pointers!(@impl $name for Box<T> { $($methods)+ });
        forward_pointers!(@impl $name for std::sync::Arc<T> { $($methods)+ });
    };
    (@impl $name:ident for $pointer:ty {
        $(fn $method:ident(&$this:ident $(, $argument:ident: $kind:ty)*) -> $output:ty;)+
    }) => {
        impl<T: $name + ?Sized> $name for $pointer {
            $(
                fn $method(&$this $(, $argument: $kind)*) -> $output {
                    (**$this).$method($($argument),*)
                }
            )+
        }
    };
}

pub(crate) use forward_pointers;
