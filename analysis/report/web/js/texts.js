// Texts of points and of numbers.

export const title = (point) => `${point.family}, K = ${point.levels}`;
export const digits = (value) => value === null || value === undefined ? "–" : value.toFixed(4);
export const interval = (bounds) => bounds ? digits(bounds[0]) + (bounds[1] === null || bounds[1] === undefined ? "" : ` [${digits(bounds[1])}, ${digits(bounds[2])}]`) : "–";
