
// Swagger UI selects the first media type of a body, and for bytes it asks for a file. This puts text first, which a user can type.
function TextFirst(system) {
  const isText = mediaType => mediaType === "text/plain" ? 0 : 1;
  const wrap = ContentType => props => {
    const contentTypes = props.contentTypes && props.contentTypes.sortBy(isText);
    return system.React.createElement(ContentType, { ...props, contentTypes });
  };
  return { wrapComponents: { contentType: wrap } };
}
