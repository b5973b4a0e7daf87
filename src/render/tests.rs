//! Tests of the renderers.

