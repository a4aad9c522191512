/*
 * no_gettext.c
 *	  Messages as they stand in the source, for servers under a sanitizer.
 *
 * With the address sanitizer's runtime preloaded, glibc 2.36 leaves the lock
 * of its message catalogs taken after the first bindtextdomain(), which a
 * constructor of libgnutls calls, and the server's own call then waits for
 * ever.  Preloaded together with the runtime, these stand in for the whole
 * family, so that the lock is never touched.  Tests run untranslated anyway.
 */
char *
bindtextdomain(const char *domain, const char *directory)
{
	return (char *) directory;
}

char *
bind_textdomain_codeset(const char *domain, const char *codeset)
{
	return (char *) codeset;
}

char *
textdomain(const char *domain)
{
	return (char *) domain;
}

char *
gettext(const char *message)
{
	return (char *) message;
}

char *
dgettext(const char *domain, const char *message)
{
	return (char *) message;
}

char *
dcgettext(const char *domain, const char *message, int category)
{
	return (char *) message;
}

char *
ngettext(const char *one, const char *many, unsigned long n)
{
	return (char *) (n == 1 ? one : many);
}

char *
dngettext(const char *domain, const char *one, const char *many,
		  unsigned long n)
{
	return (char *) (n == 1 ? one : many);
}
